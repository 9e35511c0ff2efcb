"""`observe` of a pair and `quiet_alarm` of a trunk, from the files to the topology."""

from __future__ import annotations

import pytest

from sipctl.routing.snapshot import ObserveRules, SbcPair, Trunk
from tests.dialplan.support import compiled, found

HERE = "    listen: inside\n"


def the_pair(*lines: str) -> SbcPair:
    result = compiled((HERE, HERE + "".join(f"    {line}\n" for line in lines)))
    assert found(result) == [] and result.topology is not None
    return result.topology.pairs[0]


def test_a_pair_is_observed_by_shipped_rules_unless_it_says_otherwise() -> None:
    assert the_pair().observe == ObserveRules(20, 0.2, 2.0, 300.0, 0.5)
    wished = the_pair("observe: {min_calls: 50, difference: 30%, slower: 800ms, hold: 10m, most: 25%}")
    assert wished.observe == ObserveRules(50, 0.3, 0.8, 600.0, 0.25)


def test_observing_can_be_switched_off_also_as_editors_write_it() -> None:
    assert the_pair("observe: off").observe is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("observe: never", "plan.bad-value"),
        ("observe: {min_calls: 5}", "plan.bad-number"),
        ("observe: {difference: 0%}", "plan.bad-share"),
        ("observe: {hold: 1m}", "plan.bad-duration"),
        ("observe: {hold: 2h}", "plan.bad-duration"),
        ("observe: {windows: 3}", "plan.unknown-key"),
    ],
)
def test_what_makes_no_sense_is_found_at_its_line(line: str, code: str) -> None:
    result = compiled((HERE, f"{HERE}    {line}\n"))
    assert [one[1] for one in found(result)] == [code]


def test_quiet_alarm_reaches_its_trunk() -> None:
    result = compiled(("    listen: outside\n", "    listen: outside\n    quiet_alarm: 5m\n"))
    assert result.topology is not None
    trunks: tuple[Trunk, ...] = result.topology.trunks
    assert [trunk.quiet_alarm_s for trunk in trunks] == [300.0, None]
    short = compiled(("    listen: outside\n", "    listen: outside\n    quiet_alarm: 5s\n"))
    assert [one[1] for one in found(short)] == ["plan.bad-duration"]
