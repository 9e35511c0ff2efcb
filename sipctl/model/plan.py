"""What `dialplans/` may say: groups, entry points, number files, and the tests that keep them honest."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainValidator, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from sipctl.model.approval import ApprovalModel
from sipctl.model.base import Plain
from sipctl.model.scalars import (
    Across,
    Also,
    ByHand,
    Calls,
    Cause,
    Failure,
    Kind,
    Label,
    Mode,
    Name,
    Names,
    NotBuilt,
    Share,
    Wait,
    fault,
    header_text,
    one_or_many,
    text_of,
)
from sipctl.model.times import Instant
from sipctl.model.treatments import ExitModel, OverlayModel, ScheduleModel, SwitchModel, ToModel, TreatmentModel

MAX_HEADER_CHARS: Final = 512

Texts = Annotated[tuple[Label, ...], BeforeValidator(one_or_many), Also()]


class GroupModel(Plain):
    """A continuity group: primary tenant, BCP tenant, and the policy between them."""

    primary: Name = Field(description="the tenant that takes calls normally")
    bcp: Name = Field(description="the tenant that takes them when the primary cannot")
    failover: ByHand = Field(description="who moves the group when the primary is lost")
    advance_across: Across | None = Field(
        default=None, description="may one call cross to the other tenant; default to-bcp if automatic, never if manual"
    )
    hold_off: Wait = Field(default=5.0, description="the primary must be out of service for so long first")
    failback: ByHand = Field(default="manual", description="who moves it back")
    hold_down: Wait = Field(default=300.0, description="the primary must be well for so long before an automatic failback")
    ramp: Annotated[tuple[Share, ...], BeforeValidator(one_or_many), Also()] = Field(
        default=(10, 50, 100), description="the primary's share on the way back", min_length=1, max_length=20
    )
    ramp_step: Wait = Field(default=120.0, description="how long each share lasts")
    mode: Mode = Field(default="proxy", description="how calls are carried")
    rescue: NotBuilt = Field(default=None, description="new legs for live callers")
    approval: ApprovalModel = Field(default_factory=ApprovalModel, description="which changes to it need a second person")
    renamed_from: Name | None = Field(
        default=None, description="its name until now: state, holds and pins go on under the new one"
    )


class CalledAtModel(Plain):
    """What to dial at each tenant; trailing Xs copy the last digits of the called number."""

    primary: Label | None = Field(default=None, description="number at the primary; default: the called number")
    bcp: Label | None = Field(default=None, description="number at the BCP tenant; default: the called number")


class OverLimitModel(Plain):
    """What callers beyond a limit hear."""

    code: Failure = Field(default=486, description="SIP status")
    cause: Cause = Field(default=17, description="Q.850 cause in Reason")


class EntryPointModel(Plain):
    """A named set of numbers of one group, with limits and treatment."""

    group: Name | None = Field(default=None, description="its continuity group; or split")
    split: dict[Name, Share] = Field(
        default_factory=dict, description="instead of group: lasting shares of several groups, 100% together; sticky by caller"
    )
    numbers: Texts = Field(default=(), description="numbers, ranges A..B, patterns (X 0-9, N 2-9, Z 1-9, [1-5], trailing .)")
    except_: Texts = Field(default=(), alias="except", description="numbers inside its blocks that belong elsewhere")
    trunks: Names | None = Field(default=None, description="trunks that may call it; scopes private numbers")
    called_at: CalledAtModel = Field(default_factory=CalledAtModel, description="what to dial at each tenant")
    max_calls: Calls | None = Field(default=None, description="calls at once")
    over_limit: OverLimitModel = Field(default_factory=OverLimitModel, description="what callers beyond a limit hear")
    labels: dict[Name, Label] = Field(default_factory=dict, description="free text for people and reports")
    schedule: Name | None = Field(default=None, description="its opening hours")
    closed: TreatmentModel | None = Field(default=None, description="what becomes of calls outside them; needed with schedule")
    overflow: Annotated[tuple[ToModel, ...], BeforeValidator(one_or_many), Also()] = Field(
        default=(), description="where calls beyond its limit or its tenant's go, in order", max_length=8
    )
    unusable: TreatmentModel | None = Field(
        default=None, description="what becomes of calls when no SBC of either tenant is usable; default: try them nevertheless"
    )


class ColumnsModel(Plain):
    """Which column of a number file holds what; a key left out is a column of the same name, if there is one."""

    number: Label = Field(default="number", description="the number, or a range A..B")
    entry_point: Label = Field(default="entry_point", description="the entry point's name")
    called_at_primary: Label = Field(default="called_at.primary", alias="called_at.primary", description="number at the primary")
    called_at_bcp: Label = Field(default="called_at.bcp", alias="called_at.bcp", description="number at the BCP tenant")


class NumberFileModel(Plain):
    """One inventory export; its path is relative to the YAML file that names it."""

    file: Label = Field(description="CSV with a header; delimiter , ; or tab")
    columns: ColumnsModel = Field(default_factory=ColumnsModel, description="which column holds what")


class GivenModel(Plain):
    """The settled state a test assumes, all waits over; whatever is not named is in service."""

    tenants: dict[Name, Label] = Field(default_factory=dict, description="in-service, out-of-service, draining or disabled")
    sbcs: dict[Label, Label] = Field(default_factory=dict, description="the same, or unknown")
    groups: dict[Name, Label] = Field(default_factory=dict, description="normal or on-bcp")
    overlays: Names = Field(default=(), description="overlays switched on")
    switches: Names = Field(default=(), description="kill switches switched on")
    calls: dict[Label, Calls] = Field(
        default_factory=dict, description="calls up, by entry point, tenant or trunk, or exit:NAME, so that limits are reached"
    )


class RefusedModel(Plain):
    """How a call is expected to be refused."""

    code: Failure | None = Field(default=None, description="SIP status")
    cause: Cause | None = Field(default=None, description="Q.850 cause")


def _read_refused(value: Any) -> Any:
    """true → any refusal; 486 → that status; {code, cause}; false → none."""
    if value in ("true", "false"):
        return {} if value == "true" else False
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) == 3:
            return {"code": value}
        raise fault("plan.bad-value", f"{value!r} is neither true, false nor a SIP status", "or {code: 486, cause: 17}")
    return value


def _refusal(value: Any, handler: ValidatorFunctionWrapHandler) -> RefusedModel | bool:
    read = _read_refused(value)
    if read is False:
        return False
    model: RefusedModel = handler(read)
    return model


Refused = Annotated[RefusedModel | bool, WrapValidator(_refusal), Also({"type": ["boolean", "integer"]})]


def _header_value(value: Any) -> str | bool:
    text = text_of(value, "a header's value, or false,")
    if not 0 < len(text) <= MAX_HEADER_CHARS or not text.isprintable():
        raise fault("plan.bad-value", f"text of 1 to {MAX_HEADER_CHARS} characters without line breaks is expected", "or false")
    return False if text == "false" else text


HeaderText = Annotated[str, PlainValidator(header_text), Kind("header name"), WithJsonSchema({"type": "string"})]
HeaderValue = Annotated[
    str | bool, PlainValidator(_header_value), Kind("text or false"), WithJsonSchema({"type": ["string", "boolean", "number"]})
]


class ExpectModel(Plain):
    """What a test expects; only what is named is compared."""

    entry_point: Name | None = Field(default=None, description="which entry point took the call in the end")
    group: Name | None = Field(default=None, description="which continuity group")
    tenant: Name | None = Field(default=None, description="the tenant of the first SBC tried")
    sbc_pair: Name | None = Field(default=None, description="the pair of the first SBC tried")
    exit: Name | None = Field(default=None, description="the exit it leaves through")
    called: Label | None = Field(default=None, description="what is dialled there")
    sbcs: Texts | None = Field(default=None, description="all SBCs tried, in order")
    refused: Refused | None = Field(default=None, description="the status the caller hears, {code, cause}, or true")
    headers: dict[HeaderText, HeaderValue] = Field(
        default_factory=dict, description="headers the first SBC hears, with their values; false: not there"
    )


class TestModel(Plain):
    """One call that must go where the plan's author means it to."""

    __test__ = False  # not a test class

    name: Label = Field(description="a sentence")
    call: Label = Field(description="the number as the trunk writes it")
    trunk: Name | None = Field(default=None, description="required when there are several")
    from_: Label | None = Field(default=None, alias="from", description="the calling number")
    at: Instant | None = Field(default=None, description="when; required where the answer depends on opening hours")
    given: GivenModel = Field(default_factory=GivenModel, description="states that differ from in service")
    expect: ExpectModel = Field(description="where it must go")


class PlanDocument(Plain):
    """All of `dialplans/`."""

    continuity_groups: dict[Name, GroupModel] = Field(
        default_factory=dict, description="primary, BCP, and the policy between them"
    )
    entry_points: dict[Name, EntryPointModel] = Field(default_factory=dict, description="what is called")
    number_files: tuple[NumberFileModel, ...] = Field(default=(), description="CSV inventories")
    tests: tuple[TestModel, ...] = Field(default=(), description="run by `sipctl check`; a plan whose tests fail is not applied")
    tests_file: Texts = Field(default=(), description="CSV files of further tests, one a row; paths relative to the YAML file")
    schedules: dict[Name, ScheduleModel] = Field(default_factory=dict, description="opening hours")
    exits: dict[Name, ExitModel] = Field(default_factory=dict, description="the sole ways out to numbers")
    overlays: dict[Name, OverlayModel] = Field(default_factory=dict, description="changes kept ready, switched on as one")
    switches: dict[Name, SwitchModel] = Field(default_factory=dict, description="kill switches")
