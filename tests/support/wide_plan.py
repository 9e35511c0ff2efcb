"""The wide form of the simulated world's plan: many groups, each of whose tenants stands at a site of its own or shares one.

Group gN has the primary tenant pN and the BCP tenant bN, each behind a pair of two SBCs. So of five groups' ten tenants any six
may fail, BCPs among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipctl.routing.numbers import EXACT_TEXT, Numbers, key_of
from sipctl.routing.snapshot import EntryPoint, EntryPointId, Group, GroupId, Reach, Sbc, SbcId, SbcPair, Site, Tenant, TenantId
from sipctl.testing.wire import Address

if TYPE_CHECKING:
    from tests.support.world_plan import Plan

INSIDE_UDP: Final = 1  # index of the listen that faces the SBCs


def number_of(group: int) -> str:
    """What is dialled for group gN."""
    return f"+493090200{group:02}"


def tenants_of(plan: Plan) -> tuple[str, ...]:
    """Primary and BCP in turn."""
    return tuple(f"{side}{group}" for group in range(plan.wide) for side in "pb")


def wide_doors(plan: Plan) -> dict[str, tuple[Address, str]]:
    return {
        f"{tenant}-{letter}": ((f"10.{60 + index}.0.{twin}", 5060), tenant)
        for index, tenant in enumerate(tenants_of(plan)) for twin, letter in enumerate("ab", 1)
    }  # fmt: skip


def wide_sites(plan: Plan) -> tuple[Site, ...]:
    return tuple(Site(f"site-{index}") for index in range(2 if plan.wide_shares_sites else 2 * plan.wide))


def wide_sbcs_and_pairs(plan: Plan) -> tuple[tuple[Sbc, ...], tuple[SbcPair, ...]]:
    sbcs: list[Sbc] = []
    pairs: list[SbcPair] = []
    places = wide_doors(plan)
    for index, tenant in enumerate(tenants_of(plan)):
        members = []
        for priority, letter in enumerate("ab", 1):
            name = f"{tenant}-{letter}"
            host, port = places[name][0]
            members.append(len(sbcs))
            sbcs.append(Sbc(SbcId(100 + len(sbcs)), name, index, INSIDE_UDP, host, port, "udp", host, priority))
        site = index % 2 if plan.wide_shares_sites else index
        pairs.append(SbcPair(index + 1, tenant, site, tuple(members), plan.strategy, probe=plan.probe))
    return tuple(sbcs), tuple(pairs)


def wide_tenants(plan: Plan) -> tuple[Tenant, ...]:
    return tuple(Tenant(TenantId(201 + index), name, (Reach(index),)) for index, name in enumerate(tenants_of(plan)))


def wide_groups(plan: Plan) -> tuple[Group, ...]:
    return tuple(
        Group(
            GroupId(301 + group), f"g{group}", 2 * group, 2 * group + 1, "automatic", plan.advance_across,
            hold_off_s=plan.hold_off_s, failback=plan.failback, hold_down_s=plan.hold_down_s, ramp_step_s=plan.ramp_step_s,
        )
        for group in range(plan.wide)
    )  # fmt: skip


def wide_entries(plan: Plan) -> tuple[EntryPoint, ...]:
    return tuple(EntryPoint(EntryPointId(401 + group), f"e{group}", group) for group in range(plan.wide))


def wide_numbers(plan: Plan, trunks: int) -> Numbers:
    keys = tuple(key_of(number_of(group)[1:]) for group in range(plan.wide))
    rows = tuple(range(len(keys)))
    none = (0,) * len(keys)
    return Numbers(
        first=keys, last=keys, row=rows, entry_point=rows, rule=none, primary_base=none, bcp_base=none, copied=none,
        rules=(EXACT_TEXT,), scopes=((0, len(keys)),), words=({},), scope_of_trunk=(-1,) * trunks,
    )  # fmt: skip
