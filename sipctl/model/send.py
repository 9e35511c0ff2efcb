"""What a call looks like as it leaves towards an SBC pair: the form of the number, headers set and removed, identity."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from sipctl.model.base import Plain
from sipctl.model.scalars import Country, Kind, fault, header_text, offer, one_or_many, text_of

MAX_TEMPLATE_CHARS: Final = 256
PLACEHOLDERS: Final = (
    "entry_point", "group", "tenant", "side", "sbc", "sbc_pair", "trunk", "called", "dialled", "calling", "reason", "label.NAME",
)  # fmt: skip
CALLED_PLACEHOLDERS: Final = ("e164", "e164-no-plus", "national")
CALLED_FORMS: Final = CALLED_PLACEHOLDERS
# What carries the transaction, the dialog, the route or the body is never a plan's to write or remove.
RESERVED_HEADERS: Final = frozenset({
    "via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "contact", "m", "max-forwards", "route", "record-route",
    "content-length", "l", "content-type", "c", "content-encoding", "e", "require", "proxy-require", "supported", "k", "rack",
    "rseq", "session-expires", "x", "min-se", "authorization", "proxy-authorization",
})  # fmt: skip

_FIELD: Final = re.compile(r"\{([^{}]*)\}")


def placeholders(template: str) -> tuple[str, ...]:
    """The names in braces, in order."""
    return tuple(_FIELD.findall(template))


def _check_template(text: str, known: tuple[str, ...]) -> None:
    if len(text) > MAX_TEMPLATE_CHARS or not text.isprintable():
        raise fault("plan.bad-value", f"text of at most {MAX_TEMPLATE_CHARS} characters without line breaks is expected")
    rest = _FIELD.sub("", text)
    if "{" in rest or "}" in rest:
        raise fault("send.placeholder", f"{text!r} has a brace without its partner", "write {entry_point}")
    for name in placeholders(text):
        if name not in known and not (name.startswith("label.") and name != "label." and "label.NAME" in known):
            raise fault(
                "send.placeholder", f"{{{name}}} stands for nothing", "there is: " + ", ".join(f"{{{one}}}" for one in known)
            )


def _template(value: Any) -> str:
    text = text_of(value, "text")
    _check_template(text, PLACEHOLDERS)
    return text


def _called(value: Any) -> str:
    text = text_of(value, "the form of the number")
    if text in CALLED_FORMS:
        return text
    _check_template(text, CALLED_PLACEHOLDERS)
    if len(placeholders(text)) != 1:
        hint = 'write e164, e164-no-plus, national, or a template such as "02#{e164}"'
        raise fault("send.called", f"{text!r} is no form of a number", hint)
    if not re.fullmatch(r"[A-Za-z0-9.+_~*#!-]{0,32}", _FIELD.sub("", text)):
        raise fault("send.called", f"{text!r}: letters, digits and . + _ ~ * # ! - only beside {{e164}}, 32 at most")
    return text


def _header(value: Any) -> str:
    """A header's name as it will stand on the wire."""
    text = header_text(value)
    if text.lower() in RESERVED_HEADERS:
        hint = "it carries the call itself; use a header of your own, X-…"
        raise fault("send.header", f"{text} is not a plan's to set or remove", hint)
    return text


def _removed(value: Any) -> str:
    return _header(value).lower()


Template = Annotated[
    str, PlainValidator(_template), Kind("text with {placeholders}", range="256 characters"), WithJsonSchema({"type": "string"})
]
SendHeader = Annotated[str, PlainValidator(_header), Kind("header name"), WithJsonSchema({"type": "string"})]
RemovedHeader = Annotated[str, PlainValidator(_removed), Kind("header name"), WithJsonSchema({"type": "string"})]
RemovedHeaders = Annotated[
    tuple[RemovedHeader, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
SendCalled = Annotated[
    str,
    PlainValidator(_called),
    Kind("form", range='e164, e164-no-plus, national, or e.g. "02#{e164}"'),
    WithJsonSchema({"type": "string"}),
]
Diversion = Annotated[str, *offer("off", "dialled", "history-info", also=(False,))]
PassOrStrip = Annotated[str, *offer("pass", "strip")]


class SendHeadersModel(Plain):
    """Headers of the INVITE; those set are removed from what comes in, so nobody can forge them."""

    set: dict[SendHeader, Template] = Field(default_factory=dict, description="headers to add")
    remove: RemovedHeaders = Field(default=(), description="headers to leave out")


class SendModel(Plain):
    """How an INVITE leaves towards a pair."""

    called: SendCalled = Field(default="e164", description="how the number is written; default with +")
    country: Country | None = Field(default=None, description="whose national numbers; needed for national")
    headers: SendHeadersModel = Field(default_factory=SendHeadersModel, description="headers set and removed")
    diversion: Diversion = Field(
        default="off", description="say where a retargeted call was to go: Diversion (RFC 5806) or History-Info (RFC 7044)"
    )
    identity: PassOrStrip = Field(default="pass", description="asserted identity and Identity: passed on or removed")
    uui: PassOrStrip = Field(default="pass", description="User-to-User (RFC 7433): passed on or removed")
