"""Switching overlays and kill switches on and off, and which plan would lose one that is on: rules, each with its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any, Final

from sipctl.control.case import Case, Change, No, Stopped
from sipctl.control.overlay_scope import calls_of, collision, find, places_of
from sipctl.control.overlays import FIELDS, On, Switched, until_words
from sipctl.control.world import World
from sipctl.routing.snapshot import Admin, Destination, Operating, Topology

MAX_ON: Final = 256  # overlays, and as many kill switches, that are on at once


def overlay_on(case: Case) -> Change:
    return _on(case, "overlay")


def overlay_off(case: Case) -> Change:
    return _off(case, "overlay")


def switch_on(case: Case) -> Change:
    return _on(case, "switch")


def switch_off(case: Case) -> Change:
    return _off(case, "switch")


def _on(case: Case, kind: str) -> Change:
    active, found = _active(case.world, kind), find(case.topology, kind)
    name = case.known(kind, case.text(kind), found)
    on = On(case.unix_s, case.command.actor, case.command.reason.strip(), case.until())
    before = active.get(name)
    body = _touched(case, kind, name)
    if before is None and len(active) >= MAX_ON:
        raise Stopped(No("refused", f"too-many-{FIELDS[kind]}", f"{MAX_ON} are on already", f"sipctl {kind} ls"))
    if before is not None and before.until_unix_s == on.until_unix_s:
        return Change(f"{kind} {name} is on already {until_words(before)}", body=body)
    for other in active:
        if other != name and other in found and (why := collision(case.topology, found[name], found[other])):
            case.refuse(f"{kind}-collides", why, f"sipctl {kind} off {other}")
    for place in places_of(found[name]):
        _check_place(case, place)
    return _changed(case, kind, name, on, f"{kind} {name} is on {until_words(on)}", body, _groups_of(case, kind, name))


def _off(case: Case, kind: str) -> Change:
    active, found = _active(case.world, kind), find(case.topology, kind)
    name = case.known(kind, case.text(kind), {**found, **active})
    body = _touched(case, kind, name)
    if name not in active:
        return Change(f"{kind} {name} is off already", body=body)
    return _changed(case, kind, name, None, f"{kind} {name} is off", body)


def _changed(
    case: Case, kind: str, name: str, on: On | None, text: str, body: Mapping[str, Any], touches: tuple[str, ...] = ()
) -> Change:
    if kind == "overlay":
        return Change(text, overlays={name: on}, body=body, touches=touches)
    return Change(text, switches={name: on}, body=body, touches=touches)


def _groups_of(case: Case, kind: str, name: str) -> tuple[str, ...]:
    """The groups whose calls it sends elsewhere."""
    scope = case.world.scopes.get(kind, {}).get(name)
    entries = set(scope.entry_points) if scope is not None else set()
    found = {index for entry in case.topology.entry_points if entry.name in entries for index in entry.groups}
    return tuple(case.topology.groups[index].name for index in sorted(found))


def _touched(case: Case, kind: str, name: str) -> dict[str, Any]:
    """How much it touches: entry points, their numbers, and calls up, which stay as they are."""
    scope, what = case.world.scopes.get(kind, {}).get(name), find(case.topology, kind).get(name)
    if scope is None or what is None:
        return {kind: name}
    observed = (router.observe for router in case.world.routers.values() if router.observe is not None)
    calls = calls_of(case.topology, what, scope.entry_points, observed)
    return {kind: name, "entry_points": list(scope.entry_points), "numbers": scope.numbers, "calls": calls}


def _check_place(case: Case, place: Destination) -> None:
    """Refuse to send calls where nobody would take them."""
    if place.tenant is None:
        return
    name = case.topology.tenants[place.tenant].name
    if case.world.tenants.get(name) is Operating.OUT_OF_SERVICE:
        case.refuse("target-out-of-service", f"{name}, where its calls would go, is out of service")
    if case.world.tenant_admin.get(name, Admin.ENABLED) is not Admin.ENABLED:
        case.refuse("target-not-enabled", f"{name}, where its calls would go, is not enabled")


def _active(world: World, kind: str) -> Switched:
    return world.overlays if kind == "overlay" else world.switches


def wishes_lost(old: Topology, new: Topology, world: World, force: Collection[str] = ()) -> No | None:
    """Why a plan may not take another's place while overlays or kill switches are on.

    Args:
        force: names of rules that an operator overrides: one that is lost so does nothing while this plan is live.
    Returns: the refusal, its rule `active-overlay`, `active-switch`, `overlay-collides` or `switch-collides`; else None.
    """
    for kind in FIELDS:
        active, before, after = _active(world, kind), find(old, kind), find(new, kind)
        lost = [name for name in active if name in before and name not in after]
        if lost and f"active-{kind}" not in force:
            text = f"{kind} {', '.join(lost)} is on, and the plan has none of that name"
            return No("refused", f"active-{kind}", text, f"sipctl {kind} off {lost[0]}, or keep it in the plan")
        for one, two in combinations((after[name] for name in active if name in after), 2):
            why = collision(new, one, two)
            if why and f"{kind}-collides" not in force:
                return No("refused", f"{kind}-collides", f"both are on, and in this plan {why}", f"sipctl {kind} off {two.name}")
    return None
