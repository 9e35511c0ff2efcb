"""Health scenarios of a replay: what is assumed to be out of service, and from when until when.

`NAME=STATE@FROM..TO`, either end left out means without end; without `@` it holds always. NAME is an SBC, a tenant, a group, an
overlay or a kill switch. Between two instants at which a scenario begins or ends the assumed states stay the same: a **span**,
which has one snapshot, in the settled state that the plan's own tests use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from sipctl.dialplan.check_tests import GROUP_STATES, SBC_STATES, TENANT_STATES
from sipctl.dialplan.plan_tests import Given
from sipctl.dialplan.replay_rows import BadRecordError, InputError, read_instant
from sipctl.dialplan.report import did_you_mean
from sipctl.routing.snapshot import Topology

MAX_SCENES: Final = 1_000
FOR_EVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Scene:
    """One assumption; instants in unix seconds, the end excluded."""

    name: str
    state: str
    from_s: float = -FOR_EVER
    to_s: float = FOR_EVER


def read_scene(text: str, zone: tzinfo) -> Scene:
    """`NAME=STATE[@FROM..TO]`.

    Raises: InputError.
    """
    what, at, span = text.partition("@")
    name, equals, state = what.partition("=")
    if not equals or not name or not state:
        raise InputError(
            f"--given {text}: NAME=STATE is expected", hint="e.g. acme-prod=out-of-service@2026-11-20T09:00..2026-11-20T10:00"
        )
    if not at:
        return Scene(name, state)
    begin, dots, end = span.partition("..")
    if not dots:
        raise InputError(f"--given {text}: FROM..TO is expected after the @", hint="leave one end out for 'without end'")
    try:
        from_s = read_instant(begin, zone) if begin else -FOR_EVER
        to_s = read_instant(end, zone) if end else FOR_EVER
    except BadRecordError as error:
        raise InputError(f"--given {text}: {error}") from error
    if from_s >= to_s:
        raise InputError(f"--given {text}: it ends before it begins")
    return Scene(name, state, from_s, to_s)


def read_scenes(texts: Sequence[str], zone: tzinfo) -> tuple[Scene, ...]:
    """All of them. Raises: InputError, also for more than MAX_SCENES."""
    if len(texts) > MAX_SCENES:
        raise InputError(f"{len(texts)} scenarios are more than {MAX_SCENES}")
    return tuple(read_scene(text, zone) for text in texts)


def unknown_names(topologies: Sequence[Topology], scenes: Sequence[Scene]) -> None:
    """Refuse a scenario about something that none of the plans knows.

    Raises: InputError.
    """
    known = {name for topology in topologies for kind in _kinds(topology) for name in kind[0]}
    for scene in scenes:
        if scene.name not in known:
            hint = did_you_mean(scene.name, sorted(known))
            raise InputError(f"no SBC, tenant, group, overlay or switch is called {scene.name}", hint=hint)


def given_at(topology: Topology, scenes: Sequence[Scene], at_s: float) -> tuple[Given, float]:
    """The states assumed at an instant, and until when they stay so.

    Raises: InputError for a state that the thing named cannot have. Names the plan does not know are left out.
    """
    until_s = FOR_EVER
    chosen: list[dict[str, str]] = [{}, {}, {}, {}, {}]
    kinds = _kinds(topology)
    for scene in scenes:
        if at_s < scene.to_s:
            until_s = min(until_s, scene.from_s if at_s < scene.from_s else scene.to_s)
        if not scene.from_s <= at_s < scene.to_s:
            continue
        homes = [place for place, (names, _) in enumerate(kinds) if scene.name in names]
        fitting = [place for place in homes if scene.state in kinds[place][1]]
        if homes and not fitting:
            raise InputError(f"{scene.name} cannot be {scene.state}", hint="states: " + ", ".join(kinds[homes[0]][1]))
        if fitting:
            chosen[fitting[0]][scene.name] = scene.state
    sbcs, tenants, groups, overlays, switches = chosen
    given = Given(sbcs=sbcs, tenants=tenants, groups=groups, overlays=tuple(overlays), switches=tuple(switches))
    return given, until_s


def check_scenes(topology: Topology, scenes: Sequence[Scene]) -> None:
    """Raises: InputError for a state that the thing named cannot have, whenever it is assumed."""
    for scene in scenes:
        given_at(topology, (Scene(scene.name, scene.state),), 0.0)


def _kinds(topology: Topology) -> tuple[tuple[Mapping[str, None], Sequence[str]], ...]:
    """(names, states they may have) of SBCs, tenants, groups, overlays, switches."""
    sbcs = dict.fromkeys([sbc.name for sbc in topology.sbcs] + [f"{pair.name}/srv" for pair in topology.pairs if pair.srv])
    tenants = dict.fromkeys(tenant.name for tenant in topology.tenants)
    groups = dict.fromkeys(group.name for group in topology.groups)
    overlays = dict.fromkeys(overlay.name for overlay in topology.overlays)
    switches = dict.fromkeys(switch.name for switch in topology.switches)
    return (sbcs, SBC_STATES), (tenants, TENANT_STATES), (groups, GROUP_STATES), (overlays, ("on",)), (switches, ("on",))
