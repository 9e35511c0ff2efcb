"""What an INVITE looks like as it leaves towards an SBC pair: the form of the number, headers set and removed, who sent it on.

Theory. `send` of a pair is compiled once per snapshot into a `Leaving`. For one attempt its `Facts` are gathered from the route,
and `edit_of` says what changes on the INVITE as it would leave without it: which header lines stay behind, and which are added
behind the last one. Everything else leaves octet for octet. The `Edit` is a function of those lines and facts alone, and small:
call records keep it, so that a successor sends the same bytes.

Whatever a caller or a plan's author writes, no control character leaves in a line of ours: values are cleaned when they are made.
What carries the transaction, the dialog or the body (KEPT) is never dropped, whatever a plan says.

Sources: RFC 3323 and 3325 (privacy), 7433 (User-to-User), 8224 (Identity); diverted.py for Diversion and History-Info.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from sipctl.routing.diverted import Way, diversion_line, history_lines, ways_of
from sipctl.routing.snapshot import SbcPair, SendRules

if TYPE_CHECKING:
    from sipctl.routing.answers import Route
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.select import Target

MAX_FACT_CHARS: Final = 128  # of what stands for one placeholder; the rest is cut
MAX_VALUE_BYTES: Final = 512  # of one header that is set; the rest is cut
MAX_HEAD_LINES: Final = 256  # that can be dropped: one octet tells which

FIELDS: Final = ("entry_point", "group", "tenant", "side", "sbc", "sbc_pair", "trunk", "called", "dialled", "calling", "reason")
CALLED: Final = 7  # their places in FIELDS
DIALLED: Final = 8

# Leaving.form
E164: Final = 0
NO_PLUS: Final = 1
NATIONAL: Final = 2

# Leaving.diversion
DIVERSION: Final = 1
HISTORY: Final = 2

_LITERAL: Final = -1  # Part.field: text as written
_LABEL: Final = -2  # … a label of the entry point
_FORMS: Final = {"e164": E164, "e164-no-plus": NO_PLUS, "national": NATIONAL}
_SIDES: Final = ("primary", "bcp")
_NORTH_AMERICA: Final = "1"  # whose national numbers are written without their prefix, which is the country code

# Lower-case names that no plan removes: they carry the transaction, the dialog, the route, the session or the body.
KEPT: Final = frozenset((
    b"via", b"v", b"from", b"f", b"to", b"t", b"call-id", b"i", b"cseq", b"contact", b"m", b"max-forwards", b"route",
    b"record-route", b"content-length", b"l", b"content-type", b"c", b"content-encoding", b"e", b"require", b"proxy-require",
    b"supported", b"k", b"rack", b"rseq", b"session-expires", b"x", b"min-se", b"authorization", b"proxy-authorization",
))  # fmt: skip
_COMPACT: Final = {
    b"accept-contact": b"a", b"referred-by": b"b", b"request-disposition": b"d", b"reject-contact": b"j", b"identity-info": b"n",
    b"event": b"o", b"refer-to": b"r", b"subject": b"s", b"allow-events": b"u", b"identity": b"y",
}  # fmt: skip
_IDENTITIES: Final = (
    b"p-asserted-identity", b"p-preferred-identity", b"remote-party-id", b"identity", b"y", b"identity-info", b"n",
)  # fmt: skip
# Headers with a meaning of their own: one pair that sets them says nothing about what may come in towards another.
_REGISTERED: Final = frozenset((
    b"accept", b"accept-contact", b"accept-encoding", b"accept-language", b"accept-resource-priority", b"additional-identity",
    b"alert-info", b"allow", b"allow-events", b"answer-mode", b"call-info", b"content-disposition", b"content-language", b"date",
    b"diversion", b"error-info", b"event", b"expires", b"feature-caps", b"geolocation", b"geolocation-routing", b"history-info",
    b"identity", b"identity-info", b"in-reply-to", b"join", b"max-breadth", b"mime-version", b"organization", b"path",
    b"priority", b"privacy", b"reason", b"recv-info", b"refer-to", b"referred-by", b"reject-contact", b"remote-party-id",
    b"replaces", b"reply-to", b"request-disposition", b"resource-priority", b"session-id", b"subject", b"target-dialog",
    b"timestamp", b"user-agent", b"user-to-user", b"warning",
))  # fmt: skip

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_CONTROLS: Final = bytes((*range(32), 127))


class Part(NamedTuple):
    """A piece of a template."""

    field: int  # index into FIELDS, _LITERAL or _LABEL
    text: str  # the literal, or the label's name


class Leaving(NamedTuple):
    """`send` of a pair, compiled."""

    form: int  # E164 | NO_PLUS | NATIONAL
    before: str  # around the number
    after: str
    country: str  # "+49": numbers that begin so are national
    national_prefix: str
    sets: tuple[tuple[bytes, tuple[Part, ...]], ...]  # b"X-Entry-Point: ", its template
    drops: frozenset[bytes]  # lower-case names
    diversion: int  # 0 | DIVERSION | HISTORY
    strips_identity: bool


class Facts(NamedTuple):
    """What is true of one attempt of one call."""

    texts: tuple[str, ...]  # by FIELDS
    labels: tuple[tuple[str, str], ...]
    ways: tuple[Way, ...]  # last first; () for a call that goes where it was dialled to, under the number dialled
    host: bytes  # ours, as URIs carry it
    received: bytes  # Request-URI as it came
    sent: bytes  # as it leaves


class Edit(NamedTuple):
    """What changes on the header of one INVITE."""

    drop: bytes  # numbers of the lines left out, ascending, an octet each
    add: bytes  # lines added behind the last one, each with its CRLF in front


# -- once per snapshot -----------------------------------------------------------------------------------------------------------


def leaving_of(send: SendRules | None) -> Leaving | None:
    """Compile `send`; None if it changes nothing."""
    if send is None:
        return None
    form, before, after = _form_of(send.called)
    names = {name.lower().encode() for name, _ in send.set_headers} | {name.encode() for name in send.remove_headers}
    names |= {_COMPACT[name] for name in names if name in _COMPACT}
    if send.identity == "strip":
        names.update(_IDENTITIES)
    if send.uui == "strip":
        names.add(b"user-to-user")
    leaving = Leaving(
        form,
        before,
        after,
        "+" + send.country_code,
        "" if send.country_code == _NORTH_AMERICA else send.national_prefix,
        tuple((name.encode() + b": ", _parts_of(template)) for name, template in send.set_headers),
        frozenset(names - KEPT),
        {"dialled": DIVERSION, "history-info": HISTORY}.get(send.diversion, 0),
        send.identity == "strip",
    )
    plain = form == E164 and not before and not after
    return None if plain and not leaving.sets and not leaving.drops and not leaving.diversion else leaving


def own_names(pairs: Iterable[SbcPair]) -> frozenset[bytes]:
    """Lower-case names of the plan's own headers that some pair sets: a caller who sends one has forged it, wherever it goes.

    Headers that have a meaning of their own (P-Asserted-Identity, Subject …) are dropped only towards pairs that set them.
    """
    names = {name.lower().encode() for pair in pairs if pair.send is not None for name, _ in pair.send.set_headers}
    return frozenset(name for name in names if name not in _REGISTERED and name not in KEPT and not name.startswith(b"p-"))


def names_pattern(names: frozenset[bytes]) -> re.Pattern[bytes] | None:
    """Finds a message that may hold one of those headers; None if there are none to look for."""
    if not names:
        return None
    return re.compile(rb"\n(?:" + b"|".join(re.escape(name) for name in sorted(names)) + rb")[ \t]*:", re.IGNORECASE)


def _form_of(called: str) -> tuple[int, str, str]:
    if called in _FORMS:
        return _FORMS[called], "", ""
    found = _PLACEHOLDER.search(called)
    assert found is not None, "the model asks for exactly one placeholder"
    return _FORMS[found.group(1)], called[: found.start()], called[found.end() :]


def _parts_of(template: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for number, piece in enumerate(_PLACEHOLDER.split(template)):
        if number % 2 == 0:
            if piece:
                parts.append(Part(_LITERAL, piece))
        elif piece.startswith("label."):
            parts.append(Part(_LABEL, piece.removeprefix("label.")))
        else:
            parts.append(Part(FIELDS.index(piece), ""))
    return tuple(parts)


# -- once per attempt towards a pair with `send` ---------------------------------------------------------------------------------


def called_form(leaving: Leaving, called: str) -> str:
    """The called number as the pair wants it. What is no E.164 number (a private one, a word) stays as it is."""
    if called[:1] != "+":
        return called
    number = called
    if leaving.form == NO_PLUS:
        number = called[1:]
    elif leaving.form == NATIONAL and called.startswith(leaving.country):
        number = leaving.national_prefix + called[len(leaving.country) :]
    return leaving.before + number + leaving.after


def facts_of(snapshot: RoutingSnapshot, route: Route, target: Target, calling: str, received: bytes, sent: bytes) -> Facts:
    """What is true of a call that goes to `target`.

    Args:
        calling: the caller's number, "" if it is withheld or not to be told there.
        received, sent: the Request-URI as it came, as it leaves.
    """
    entry = snapshot.entry_points[route.entry_point]
    in_group = route.stand_in < 0
    called = route.called[target.side]
    sbc = snapshot.sbcs[target.sbc]
    texts = (
        entry.name,
        snapshot.groups[route.group].name if in_group else "",
        snapshot.tenants[target.tenant].name,
        _SIDES[target.side] if in_group else "",
        sbc.name,
        snapshot.pairs[sbc.pair].name,
        snapshot.trunks[route.trunk].name,
        called,
        route.called_number,
        calling,
        route.retargets[0].reason if route.retargets else "",
    )
    listen = snapshot.listens[target.listen]
    host = f"[{listen.advertise_host}]" if ":" in listen.advertise_host else listen.advertise_host
    return Facts(texts, entry.labels, ways_of(route, called), host.encode(), received, sent)


def edit_of(rest: bytes, leaving: Leaving, facts: Facts) -> Edit:
    """What changes on one INVITE.

    Args:
        rest: its header lines as they would leave without `send`, and the body.
    """
    drop: list[int] = []
    diversions: list[tuple[int, bytes]] = []
    histories: list[tuple[int, bytes]] = []
    private = False
    for at, line in enumerate(head_of(rest)):
        name = name_of(line)
        if name in leaving.drops:
            drop.append(at)
        elif name == b"diversion":
            diversions.append((at, line))
        elif name == b"history-info":
            histories.append((at, line))
        if name == b"privacy" and _asks_privacy(line):
            private = True
    if private and leaving.strips_identity:  # whom the call was for before is nobody's business there (RFC 3323, 7044 §10.1)
        drop += [at for at, _ in diversions] + [at for at, _ in histories]
        diversions, histories = [], []
    add = [name + value for name, parts in leaving.sets if (value := _rendered(parts, facts))]
    if facts.ways and leaving.diversion == DIVERSION:
        add += [diversion_line(way, facts.host) for way in facts.ways]
        drop += [at for at, _ in diversions]  # the latest stands first, so those received come again behind ours
        add += [line for _, line in diversions]
    elif facts.ways and leaving.diversion == HISTORY:
        stays = facts.texts[CALLED] == facts.texts[DIALLED]
        lines = [line for _, line in histories]
        add += history_lines(facts.ways[-1], facts.host, facts.received, facts.sent, stays, lines)
    drop.sort()
    return Edit(bytes(at for at in drop if at < MAX_HEAD_LINES), b"".join(b"\r\n" + line for line in add))


def edited(rest: bytes, edit: Edit) -> bytes:
    """The INVITE's lines after an edit, and its body as it was."""
    end = rest.find(b"\r\n\r\n")
    if not edit.drop:
        return rest[:end] + edit.add + rest[end:]
    kept = [line for at, line in enumerate(head_of(rest)) if at >= MAX_HEAD_LINES or at not in edit.drop]
    return b"\r\n".join(kept) + edit.add + rest[end:]


def head_of(rest: bytes) -> list[bytes]:
    """Header lines; one that is folded (RFC 3261 §7.3.1) is one, with the fold in it."""
    lines: list[bytes] = []
    for line in rest[: rest.find(b"\r\n\r\n")].split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] += b"\r\n" + line
        else:
            lines.append(line)
    return lines


def name_of(line: bytes) -> bytes:
    """Lower-case name of a header line."""
    return line[: line.find(b":")].rstrip(b" \t").lower()


def _rendered(parts: tuple[Part, ...], facts: Facts) -> bytes:
    text = ""
    for part in parts:
        if part.field == _LITERAL:
            text += part.text
        elif part.field == _LABEL:
            text += _label(facts.labels, part.text)[:MAX_FACT_CHARS]
        else:
            text += facts.texts[part.field][:MAX_FACT_CHARS]
    value = text.encode("utf-8", "replace").translate(None, _CONTROLS)
    if len(value) > MAX_VALUE_BYTES:
        value = value[:MAX_VALUE_BYTES].decode("utf-8", "ignore").encode()
    return value.strip()


def _label(labels: tuple[tuple[str, str], ...], name: str) -> str:
    for label, value in labels:
        if label == name:
            return value
    return ""


def _asks_privacy(line: bytes) -> bool:
    wanted = line.partition(b":")[2].lower().replace(b",", b";").split(b";")
    return any(value.strip() not in (b"", b"none") for value in wanted)
