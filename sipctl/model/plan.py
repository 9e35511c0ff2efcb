"""What `dialplans/` may say: groups, entry points, number files, and the tests that keep them honest."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sipctl.model.edge import Plain
from sipctl.model.scalars import (
    Across,
    Also,
    ByHand,
    Calls,
    Cause,
    Failure,
    Label,
    Mode,
    Name,
    Names,
    NotBuilt,
    Share,
    Wait,
    fault,
    one_or_many,
)

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

    group: Name = Field(description="its continuity group")
    numbers: Texts = Field(default=(), description="numbers, ranges A..B, patterns (X 0-9, N 2-9, Z 1-9, [1-5], trailing .)")
    except_: Texts = Field(default=(), alias="except", description="numbers inside its blocks that belong elsewhere")
    trunks: Names | None = Field(default=None, description="trunks that may call it; scopes private numbers")
    called_at: CalledAtModel = Field(default_factory=CalledAtModel, description="what to dial at each tenant")
    max_calls: Calls | None = Field(default=None, description="calls at once")
    over_limit: OverLimitModel = Field(default_factory=OverLimitModel, description="what callers beyond a limit hear")
    labels: dict[Name, Label] = Field(default_factory=dict, description="free text for people and reports")
    schedule: NotBuilt = Field(default=None, description="opening hours")
    closed: NotBuilt = Field(default=None, description="what happens outside them")
    overflow: NotBuilt = Field(default=None, description="where calls beyond a limit go")
    unusable: NotBuilt = Field(default=None, description="what happens when neither tenant can be reached")
    split: NotBuilt = Field(default=None, description="a lasting share of both tenants")


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


def _refused(value: Any) -> Any:
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        return int(value)
    raise fault("plan.bad-value", f"{value!r} is neither true, false nor a SIP status")


class GivenModel(Plain):
    """The settled state a test assumes, all waits over; whatever is not named is in service."""

    tenants: dict[Name, Label] = Field(default_factory=dict, description="in-service, out-of-service, draining or disabled")
    sbcs: dict[Label, Label] = Field(default_factory=dict, description="the same, or unknown")
    groups: dict[Name, Label] = Field(default_factory=dict, description="normal or on-bcp")
    overlays: NotBuilt = Field(default=None, description="overlays switched on")


class ExpectModel(Plain):
    """What a test expects; only what is named is compared."""

    entry_point: Name | None = Field(default=None, description="which entry point")
    tenant: Name | None = Field(default=None, description="the tenant of the first SBC tried")
    called: Label | None = Field(default=None, description="what is dialled there")
    sbcs: Texts | None = Field(default=None, description="all SBCs tried, in order")
    refused: Annotated[int | bool, BeforeValidator(_refused)] | None = Field(
        default=None, description="the status the caller hears, or true"
    )
    headers: NotBuilt = Field(default=None, description="headers that leave")


class TestModel(Plain):
    """One call that must go where the plan's author means it to."""

    __test__ = False  # not a test class

    name: Label = Field(description="a sentence")
    call: Label = Field(description="the number as the trunk writes it")
    trunk: Name | None = Field(default=None, description="required when there are several")
    from_: Label | None = Field(default=None, alias="from", description="the calling number")
    at: NotBuilt = Field(default=None, description="date and time")
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
    overlays: NotBuilt = Field(default=None, description="temporary changes, switched on and off")
    exits: NotBuilt = Field(default=None, description="announcements and last resorts")
    schedules: NotBuilt = Field(default=None, description="opening hours")
    switches: NotBuilt = Field(default=None, description="operators' switches")
