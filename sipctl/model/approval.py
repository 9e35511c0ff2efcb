"""What a plan says of second persons: which changes need one, who may be one, and what overrides it in an emergency."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator, WithJsonSchema

from sipctl.model.base import Plain
from sipctl.model.scalars import Kind, Period, fault, offer, one_or_many, text_of

APPROVERS: Final = ("operator", "admin")  # roles that may move calls at all; an editor or viewer never approves


def _roles(value: Any) -> tuple[str, ...]:
    """operator | [operator, admin] → in the order of APPROVERS."""
    items = one_or_many(value)
    if not isinstance(items, list) or not items:
        raise fault("plan.bad-value", "a role or a list of roles is expected here", f"e.g. [{', '.join(APPROVERS)}]")
    texts = [text_of(item, "a role") for item in items]
    for text in texts:
        if text not in APPROVERS:
            raise fault("plan.bad-choice", f"{text!r} is none of {', '.join(APPROVERS)}", "others may not move calls themselves")
    return tuple(role for role in APPROVERS if role in texts)


Roles = Annotated[
    tuple[str, ...],
    PlainValidator(_roles),
    Kind("role or list of roles", range=", ".join(APPROVERS)),
    WithJsonSchema({"anyOf": [{"enum": list(APPROVERS)}, {"type": "array", "items": {"enum": list(APPROVERS)}}]}),
]
Moves = Annotated[str, *offer("none", "two-person")]


class ApprovalModel(Plain):
    """Which changes to a group need a second person."""

    moves: Moves = Field(default="none", description="two-person: what operators do to its calls waits for another token")
    by: Roles = Field(default=APPROVERS, description="who may approve: roles of the other token")


class BreakGlassModel(Plain):
    """The way round approvals and safety rules for an emergency."""

    by: Roles = Field(default=APPROVERS, description="who may break the glass")
    lasts: Period = Field(default=1800.0, description="it ends by itself after so long")
