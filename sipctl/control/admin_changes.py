"""Admin states, extra sources and the rest of the commands that are not about one group's place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Final

from sipctl.control.case import ADMIN_WORDS, Case, Change, No, Stopped, names_of, not_pinned
from sipctl.control.world import World
from sipctl.failover.memory import BCP, PRIMARY, Order
from sipctl.routing.snapshot import Admin, Group, Operating

MAX_EXTRA_SOURCES: Final = 256


def sbc_admin(case: Case) -> Change:
    edge = case.world.edge
    assert edge is not None
    name, state = case.known("sbc", case.text("sbc"), edge.tenants_of_sbc), ADMIN_WORDS[case.choice("state", ADMIN_WORDS)]
    moves: tuple[tuple[Group, str], ...] = ()
    if state is not Admin.ENABLED:
        after = {**case.world.sbc_admin, name: state}
        bare = {
            case.topology.tenants[index].name
            for index in edge.tenants_of_sbc[name]
            if not _usable(case.world, edge.sbcs_of_tenant[index], after)
            and _usable(case.world, edge.sbcs_of_tenant[index], case.world.sbc_admin)
        }
        if bare:
            moves = _leave(case, bare, "last-usable-sbc", f"{name} is the last usable SBC of {', '.join(sorted(bare))}")
    calls = case.world.sbcs[name].calls if name in case.world.sbcs else 0
    touched = case.blast(group for group, _ in moves)
    return Change(
        f"{name} is {_word(state)}", _away(case, moves), sbc_admin={name: state}, body={**touched, "sbc": name, "calls": calls}
    )


def tenant_admin(case: Case) -> Change:
    name = case.known("tenant", case.text("tenant"), (tenant.name for tenant in case.topology.tenants))
    state = ADMIN_WORDS[case.choice("state", ADMIN_WORDS)]
    moves: tuple[tuple[Group, str], ...] = ()
    if state is not Admin.ENABLED and any(name in _active_tenants(case, group) for group in case.topology.groups):
        moves = _leave(case, {name}, "active-tenant", f"{name} takes new calls", disabled=name)
    touched = case.blast(group for group, _ in moves)
    return Change(f"{name} is {_word(state)}", _away(case, moves), tenant_admin={name: state}, body=touched)


def _leave(case: Case, tenants: set[str], rule: str, why: str, *, disabled: str = "") -> tuple[tuple[Group, str], ...]:
    """The groups that send new calls to one of these tenants, and where to: refused, or with `move` to be moved first.

    Args:
        disabled: the tenant that is about to be drained or disabled itself, so nothing may be moved to it.
    """
    staying = tuple(group for group in case.topology.groups if tenants & _active_tenants(case, group))
    if not case.flag("move"):
        lose = f", and {names_of(staying)} would lose it" if staying else ""
        case.refuse(rule, why + lose, "--move moves its groups first, and holds them")
        return ()
    moves: list[tuple[Group, str]] = []
    for group in staying:
        not_pinned(case, group)
        to = BCP if case.tenant_of(group, PRIMARY) in tenants else PRIMARY
        case.check_target(group, to, disabled)
        if case.tenant_of(group, to) in tenants:
            case.refuse(rule, f"both tenants of {group.name} hang on it")
        moves.append((group, to))
    return tuple(moves)


def _active_tenants(case: Case, group: Group) -> set[str]:
    percent = case.memory(group).bcp_percent
    active = set() if percent == 100 else {case.tenant_of(group, PRIMARY)}
    return active | ({case.tenant_of(group, BCP)} if percent else set())


def _away(case: Case, moves: tuple[tuple[Group, str], ...]) -> tuple[tuple[str, Order], ...]:
    return tuple((group.name, case.order("failover", to)) for group, to in moves)


def _usable(world: World, sbcs: tuple[str, ...], admin: Mapping[str, Admin]) -> bool:
    """Is one of these enabled and not out of service?"""
    return any(
        admin.get(name, Admin.ENABLED) is Admin.ENABLED
        and (name not in world.sbcs or world.sbcs[name].operating != Operating.OUT_OF_SERVICE)
        for name in sbcs
    )


def _word(state: Admin) -> str:
    return state.name.lower()


def sbc_probe(case: Case) -> Change:
    assert case.world.edge is not None
    name = case.known("sbc", case.text("sbc"), case.world.edge.tenants_of_sbc)
    return Change(f"{name} is probed now", probe=name)


def trunk_admin(case: Case) -> Change:
    names = [trunk.name for trunk in case.topology.trunks]
    name, state = case.known("trunk", case.text("trunk"), names), ADMIN_WORDS[case.choice("state", ADMIN_WORDS)]
    others = [one for one in names if one != name and case.world.trunk_admin.get(one, Admin.ENABLED) is Admin.ENABLED]
    if state is not Admin.ENABLED and not others:
        case.refuse("last-trunk", f"{name} is the last enabled trunk: no call would come in any more")
    calls = sum(
        router.observe.trunks[name].calls
        for router in case.world.routers.values() if router.observe is not None and name in router.observe.trunks
    )
    return Change(f"{name} is {_word(state)}", trunk_admin={name: state}, body={"trunk": name, "calls": calls})


def trunk_allow(case: Case) -> Change:
    name = case.known("trunk", case.text("trunk"), (trunk.name for trunk in case.topology.trunks))
    try:
        network = str(ip_network(case.text("cidr"), strict=False))
    except ValueError as error:
        raise Stopped(No("invalid", "bad-network", str(error))) from error
    until_unix_s = case.until()
    if until_unix_s is None:
        raise Stopped(No("invalid", "missing-argument", "trunk-allow needs until, a time"))
    kept = tuple(one for one in case.world.extra_sources if one[:2] != (name, network))
    if len(kept) >= MAX_EXTRA_SOURCES:
        raise Stopped(No("refused", "too-many-sources", f"{MAX_EXTRA_SOURCES} extra sources are allowed already"))
    return Change(f"{name} may also call from {network}", extra_sources=(*kept, (name, network, until_unix_s)))


def node_admin(case: Case) -> Change:
    state = ADMIN_WORDS[case.choice("state", ("enabled", "draining"))]
    calls = sum(router.observe.calls for router in case.world.routers.values() if router.observe is not None)
    return Change(f"this node is {_word(state)}", node_admin=state, body={"calls": calls})


def automation(case: Case) -> Change:
    state = case.choice("state", ("pause", "resume"))
    return Change("automation is paused" if state == "pause" else "automation is on", automation=state == "resume")


def alarm_ack(case: Case) -> Change:
    name = case.known("alarm", case.text("id"), case.world.alarms)
    return Change(f"alarm {name} is acknowledged", acked=name)
