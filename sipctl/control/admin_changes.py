"""Admin states, extra sources and the rest of the commands that are not about one group's place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Final

from sipctl.control.case import ADMIN_WORDS, Case, Change, No, Stopped, check_room, check_sight, names_of, not_pinned
from sipctl.control.following import DRAIN, Follow
from sipctl.control.op_changes import drained
from sipctl.control.safety import both_off, calls_of_node, calls_of_sbc, calls_of_tenant, groups_of_tenants, is_usable
from sipctl.failover.memory import BCP, PRIMARY, Order
from sipctl.routing.snapshot import Admin, Group

MAX_EXTRA_SOURCES: Final = 256
MAX_FOLLOWERS: Final = 8  # operations on one SBC, tenant or node that wait for its last call; one more must change something


def sbc_admin(case: Case) -> Change:
    edge = case.world.edge
    assert edge is not None
    name, state = case.known("sbc", case.text("sbc"), edge.tenants_of_sbc), ADMIN_WORDS[case.choice("state", ADMIN_WORDS)]
    moves: tuple[tuple[Group, str], ...] = ()
    touched: tuple[str, ...] = ()
    if state is not Admin.ENABLED:
        after = {**case.world.sbc_admin, name: state}
        bare = {
            case.topology.tenants[index].name
            for index in edge.tenants_of_sbc[name]
            if not any(is_usable(case.world, one, after) for one in edge.sbcs_of_tenant[index])
            and any(is_usable(case.world, one, case.world.sbc_admin) for one in edge.sbcs_of_tenant[index])
        }
        if bare:
            moves = _leave(case, bare, "last-usable-sbc", f"{name} is the last usable SBC of {', '.join(sorted(bare))}")
            touched = tuple(group.name for group in groups_of_tenants(case.topology, bare))
        _not_both_off(case, case.world.tenant_admin, after)
    blast = case.blast(group for group, _ in moves) if moves else {}
    calls = calls_of_sbc(case.world, name) or 0
    return Change(
        f"{name} is {_word(state)}",
        _away(case, moves),
        sbc_admin={name: state},
        body={**blast, "sbc": name, "calls": calls},
        touches=touched,
        follow=_followed(case, "sbc", name, state, case.world.sbc_admin.get(name, Admin.ENABLED)),
    )


def tenant_admin(case: Case) -> Change:
    name = case.known("tenant", case.text("tenant"), (tenant.name for tenant in case.topology.tenants))
    state = ADMIN_WORDS[case.choice("state", ADMIN_WORDS)]
    moves: tuple[tuple[Group, str], ...] = ()
    if state is not Admin.ENABLED and any(name in _active_tenants(case, group) for group in case.topology.groups):
        moves = _leave(case, {name}, "active-tenant", f"{name} takes new calls", disabled=name)
    touched: tuple[str, ...] = ()
    if state is not Admin.ENABLED:
        _not_both_off(case, {**case.world.tenant_admin, name: state}, case.world.sbc_admin)
        touched = tuple(group.name for group in groups_of_tenants(case.topology, {name}))
    blast = {
        **(case.blast(group for group, _ in moves) if moves else {}),
        "tenant": name,
        "calls": calls_of_tenant(case.world, name) or 0,
    }
    return Change(
        f"{name} is {_word(state)}",
        _away(case, moves),
        tenant_admin={name: state},
        body=blast,
        touches=touched,
        follow=_followed(case, "tenant", name, state, case.world.tenant_admin.get(name, Admin.ENABLED)),
    )


def _not_both_off(case: Case, tenant_admin: Mapping[str, Admin], sbc_admin: Mapping[str, Admin]) -> None:
    why = both_off(case.world, case.topology, tenant_admin, sbc_admin)
    if why:
        case.refuse("both-tenants-off", why)


def _followed(case: Case, what: str, name: str, state: Admin, before: Admin) -> Follow | None:
    """What takes no more calls is followed until the last one is over; said again, by a few more that wait for the same."""
    if state is Admin.ENABLED:
        return None
    followers = [
        one.id for one in case.world.pending
        if one.follow is not None and (one.follow.kind, one.follow.what, one.follow.name) == (DRAIN, what, name)
    ]  # fmt: skip
    if state is before and len(followers) >= MAX_FOLLOWERS:
        text = f"{name or 'this node'} is {_word(state)} already, and {len(followers)} operations wait for its last call"
        raise Stopped(No("refused", "followed-already", text, "sipctl op ls"))
    return drained(case, what, name, before, state)


def _leave(case: Case, tenants: set[str], rule: str, why: str, *, disabled: str = "") -> tuple[tuple[Group, str], ...]:
    """The groups that send new calls to one of these tenants, and where to: refused, or with `move` to be moved first.

    Args:
        disabled: the tenant that is about to be drained or disabled itself, so nothing may be moved to it.
    """
    staying = tuple(group for group in case.topology.groups if tenants & _active_tenants(case, group))
    check_sight(case)
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
    check_room(case, moves)
    return tuple(moves)


def _active_tenants(case: Case, group: Group) -> set[str]:
    percent = case.memory(group).bcp_percent
    active = set() if percent == 100 else {case.tenant_of(group, PRIMARY)}
    return active | ({case.tenant_of(group, BCP)} if percent else set())


def _away(case: Case, moves: tuple[tuple[Group, str], ...]) -> tuple[tuple[str, Order], ...]:
    return tuple((group.name, case.order("failover", to)) for group, to in moves)


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
        for router in case.world.routers.values()
        if router.observe is not None and name in router.observe.trunks
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
    off = state is not Admin.ENABLED
    numbers = sum(case.world.plan.numbers.values()) if case.world.plan is not None else 0
    return Change(
        f"this node is {_word(state)}",
        node_admin=state,
        body={"numbers": numbers, "calls": calls_of_node(case.world) or 0},
        touches=tuple(group.name for group in case.topology.groups) if off else (),
        follow=_followed(case, "node", "", state, case.world.node_admin),
    )


def automation(case: Case) -> Change:
    state = case.choice("state", ("pause", "resume"))
    return Change("automation is paused" if state == "pause" else "automation is on", automation=state == "resume")


def alarm_ack(case: Case) -> Change:
    name = case.known("alarm", case.text("id"), case.world.alarms)
    return Change(f"alarm {name} is acknowledged", acked=name)
