"""Where calls go when not to their group: schedules, exits, overlays, kill switches, and what `closed` and the like may say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sipctl.model.base import Plain
from sipctl.model.scalars import (
    NAME_PATTERN,
    Also,
    Calls,
    Cause,
    Failure,
    Kind,
    Label,
    Name,
    Names,
    Token,
    fault,
    one_or_many,
    text_of,
)
from sipctl.model.times import Dates, Regions, Windows, Zone

EVERYWHERE = "*"
DEFAULT_CAUSE = 41  # Q.850 temporary failure


class ScheduleModel(Plain):
    """Opening hours, as a wall clock in their zone shows them."""

    zone: Zone = Field(description="time zone of the hours")
    open: Windows = Field(description="open within these, closed outside", min_length=1)
    holidays: Regions = Field(default=(), description="closed on the public holidays of a country or a part of one")
    closed: Dates = Field(default=(), description="closed on these days as well")


class ExitModel(Plain):
    """A way out to numbers that are nobody's here: the only one there is."""

    sbc_pair: Name = Field(description="the pair that takes the calls; it serves no tenant")
    allow: Annotated[tuple[Label, ...], BeforeValidator(one_or_many), Also()] = Field(
        description="numbers, ranges and patterns that may be called, with +", min_length=1
    )
    max_calls: Calls = Field(description="calls at once; there is no default: toll fraud starts here")


class ToModel(Plain):
    """Another place for a call: {entry_point}, {sbc_pair, called}, or {number, exit}."""

    entry_point: Name | None = Field(default=None, description="an entry point: judged as if it had been called")
    sbc_pair: Name | None = Field(default=None, description="an SBC pair, e.g. one that plays announcements")
    called: Token | None = Field(default=None, description="what to dial there; default: the called number")
    number: Label | None = Field(default=None, description="a number outside, with +")
    exit: Name | None = Field(default=None, description="the exit it is called through")

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.number is None) != (self.exit is None):
            lacks, has = ("exit", "number") if self.exit is None else ("number", "exit")
            raise fault("to.place", f"{has} needs {lacks}", 'write {number: "+4969555000", exit: NAME}')
        places = [name for name in ("entry_point", "sbc_pair", "number") if getattr(self, name) is not None]
        if len(places) != 1:
            what = " and ".join(places) + " at once" if places else "no place"
            raise fault("to.place", f"this names {what}", "one of entry_point, sbc_pair, or number with exit")
        if self.number is not None and self.called is not None:
            raise fault("to.place", "number says already what to dial", "remove called")
        return self


def _read_refuse(value: Any) -> Any:
    return {"code": value} if isinstance(value, str) else value


class RefuseModel(Plain):
    """How a call is refused."""

    code: Failure = Field(default=480, description="SIP status")
    cause: Cause | None = Field(default=None, description="Q.850 cause in Reason")


class TreatmentModel(Plain):
    """What becomes of a call instead of going to its group: sent elsewhere, or refused."""

    to: ToModel | None = Field(default=None, description="where it goes instead")
    refuse: Annotated[RefuseModel | None, BeforeValidator(_read_refuse), Also({"type": ["integer", "string"]})] = Field(
        default=None, description="or how it is refused: a SIP status, or {code, cause}"
    )
    cause: Cause | None = Field(default=None, description="Q.850 cause beside refuse: STATUS; default 41")

    @model_validator(mode="after")
    def _is_one_treatment(self) -> Self:
        if (self.to is None) == (self.refuse is None):
            raise fault(
                "to.place", "either to or refuse is expected here", "e.g. {to: {entry_point: NAME}} or {refuse: 480, cause: 41}"
            )
        if self.cause is not None and (self.refuse is None or self.refuse.cause is not None):
            raise fault("to.place", "cause belongs to refuse, once", "e.g. {refuse: 480, cause: 41}")
        return self

    @property
    def refusal(self) -> tuple[int, int] | None:
        """(SIP status, Q.850 cause), or None if the call is sent elsewhere."""
        if self.refuse is None:
            return None
        return self.refuse.code, self.refuse.cause or self.cause or DEFAULT_CAUSE


def _place_name(value: Any) -> str:
    text = text_of(value, "the name of an entry point, or *")
    if text != EVERYWHERE and not re.fullmatch(NAME_PATTERN, text):
        raise fault("plan.bad-name", f"{text!r} is no name", "an entry point's name, or * for all others")
    return text


EntryPointOrAll = Annotated[str, PlainValidator(_place_name), Kind("name or *"), WithJsonSchema({"type": "string"})]


class OverlayModel(Plain):
    """A change kept ready: switched on and off as one, by `sipctl overlay`."""

    entry_points: dict[EntryPointOrAll, TreatmentModel] = Field(
        description="what becomes of their calls while it is on; * means all that are not named", min_length=1
    )


class SwitchMatchModel(Plain):
    """Which calls a kill switch stops; everything named must fit."""

    entry_point: Names | None = Field(default=None, description="called this entry point")
    group: Names | None = Field(default=None, description="would go to this continuity group")
    trunk: Names | None = Field(default=None, description="came by this trunk")
    tenant: Names | None = Field(default=None, description="would go to this tenant")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not any((self.entry_point, self.group, self.trunk, self.tenant)):
            raise fault("switch.match", "this matches nothing", "name an entry_point, group, trunk or tenant")
        return self


class SwitchModel(TreatmentModel):
    """A kill switch: stops calls at once, before anything else is judged, while it is on (`sipctl switch`)."""

    match: SwitchMatchModel = Field(description="which calls")
