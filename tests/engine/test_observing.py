"""What the controller hears of a core: rests and doubts at once, and alarms for as long as they stand."""

import mmap
import re
from dataclasses import replace
from pathlib import Path

import sipctl.call
from sipctl.call.core import ALARM_STANDS_S
from sipctl.call.records import SLOT_BYTES
from sipctl.engine.embedded.observing import COUNTED, ObservedCore
from sipctl.health.judge import Judge
from sipctl.routing.snapshot import Listen
from tests.support.world_plan import Plan, a_snapshot, a_state, a_table

START_S = 1000.0


def an_observed_core(sockets: tuple[Listen, ...] | None = None) -> ObservedCore:
    """With the world's plan, before its first probe."""
    plan = Plan(probe=None)
    core = ObservedCore(
        slot=0, sockets=a_table(plan).topology.listens if sockets is None else sockets,
        memory=memoryview(mmap.mmap(-1, SLOT_BYTES)), entropy=bytes(32), unix_minus_mono_s=1.7e9, judge=Judge(1),
    )  # fmt: skip
    core.swap(a_snapshot(plan, a_state()), START_S)
    core.notes = []
    return core


def sbc_id(core: ObservedCore, name: str) -> int:
    assert core.snapshot is not None
    return int(core.snapshot.sbcs[core.snapshot.sbc_index[name]].id)


def test_an_sbc_that_begins_to_rest_is_told_at_once_and_only_once() -> None:
    core = an_observed_core()
    core.rest(sbc_id(core, "fra-a"), START_S + 30)
    assert core.notes == [("observe",)]
    assert core.observe(START_S + 1).sbcs["fra-a"].resting_s == 29
    core.rest(sbc_id(core, "fra-a"), START_S + 40)
    assert core.notes == [("observe",)], "every refusal prolongs the rest; only its beginning is news"


def test_doubt_and_trust_are_told_at_once() -> None:
    core = an_observed_core()
    core.suspect(sbc_id(core, "fra-a"))
    core.suspect(sbc_id(core, "fra-a"))
    assert core.notes == [("observe",)] and core.observe(START_S).sbcs["fra-a"].suspect
    core.trust(sbc_id(core, "fra-a"))
    assert core.notes == [("observe",)] * 2 and not core.observe(START_S).sbcs["fra-a"].suspect


def test_an_alarm_stands_until_its_cause_has_been_away_for_a_minute() -> None:
    core = an_observed_core()
    core.alarm("call-records-full", "full")
    assert core.notes == [("alarm", "call-records-full", "full"), ("observe",)]
    core.now_s += ALARM_STANDS_S - 1
    core.alarm("call-records-full", "full")
    assert len(core.notes) == 2, "it stands already"
    core.now_s += ALARM_STANDS_S - 1
    assert core.observe(core.now_s).alarms == (("call-records-full", "full"),)
    core.now_s += 1
    assert core.observe(core.now_s).alarms == ()
    core.alarm("call-records-full", "full")
    assert len(core.notes) == 4, "it is new again"


def test_a_listen_without_a_socket_is_an_alarm_until_a_plan_does_without_it() -> None:
    plan = Plan(probe=None)
    listens = a_table(plan).topology.listens
    core = an_observed_core(listens[:3])
    core.now_s += 10 * ALARM_STANDS_S
    ((slug, text),) = core.observe(core.now_s).alarms
    assert slug == "listen-not-open" and "inside-tcp" in text
    other = an_observed_core(listens)
    core.sockets = other.sockets
    core.swap(a_snapshot(plan, replace(a_state(), seq=2)), core.now_s)
    assert core.observe(core.now_s).alarms == ()


def test_every_counter_of_the_call_path_is_told_from_the_first_second_on() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in Path(sipctl.call.__path__[0]).glob("*.py"))
    named = set(re.findall(r"""count\("([a-z0-9_]+)"\)|counters\["([a-z0-9_]+)"\]""", text))
    counted = {one or other for one, other in named}
    assert len(counted) > 30 and counted <= set(COUNTED), counted - set(COUNTED)
    core = an_observed_core()
    core.count("shed")
    told = core.observe(START_S).counters
    assert set(COUNTED) <= told.keys() and (told["shed"], told["loops"]) == (1, 0)
