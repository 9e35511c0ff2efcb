"""Is it them, or is it us?"""

from __future__ import annotations

import pytest

from sipctl.health.self_doubt import Ears, Seen, doubt, majority, own_fault
from sipctl.routing.snapshot import Operating

IN, OUT = int(Operating.IN_SERVICE), int(Operating.OUT_OF_SERVICE)


@pytest.mark.parametrize(
    ("ears", "suspects"),
    [
        (Ears(100.0, heard_s=99.0, sent_s=99.9), False),
        (Ears(100.0, heard_s=98.0, sent_s=99.9), True),
        (Ears(100.0, heard_s=98.0, sent_s=97.0), False),
        (Ears(100.0), False),
        (Ears(100.0, sent_s=99.0), True),
        (Ears(100.0, heard_s=99.9, sent_s=99.9, local_error_s=96.0), True),
        (Ears(100.0, heard_s=99.9, sent_s=99.9, local_error_s=94.0), False),
        (Ears(100.0, heard_s=99.9, sent_s=99.9, gap_s=99.0), True),
    ],
)
def test_own_fault_is_silence_though_we_sent_or_local_errors_or_gaps(ears: Ears, suspects: bool) -> None:
    assert bool(own_fault(ears)) is suspects


def crowd(count: int, failed: int, spread_s: float = 2.0) -> tuple[list[tuple[str, ...]], dict[str, Seen]]:
    domains: list[tuple[str, ...]] = [(f"s{i}",) for i in range(count)]
    seen = {
        f"s{i}": Seen(OUT, 100.0 + spread_s * i / max(failed - 1, 1), 3, 101.0) if i < failed else Seen(IN, 0.0, 0, None, 103.0)
        for i in range(count)
    }
    return domains, seen


@pytest.mark.parametrize(
    ("count", "failed", "spread_s", "suspects"),
    [(10, 6, 2.0, True), (10, 5, 2.0, False), (10, 6, 30.0, False), (3, 3, 0.0, False), (4, 3, 5.0, True), (4, 2, 0.0, False)],
)
def test_a_crowd_is_more_than_half_of_four_domains_or_more_within_five_seconds(
    count: int, failed: int, spread_s: float, suspects: bool
) -> None:
    assert bool(majority(*crowd(count, failed, spread_s))) is suspects


def test_a_domain_with_one_sbc_standing_has_not_failed() -> None:
    domains, seen = crowd(4, 4)
    assert majority([(*names, "good") for names in domains], {**seen, "good": Seen(IN, 0.0)}) == ""


def test_a_target_that_answered_every_probe_may_be_moved_to() -> None:
    good = {"b": Seen(IN, 0.0, 0, 50.0, 103.0)}
    assert doubt(["b"], good, 100.0, fault="deaf", crowd="6 of 10") == ""


def test_a_crowd_holds_a_move_only_if_the_target_missed_a_probe_too() -> None:
    quiet = {"b": Seen(IN, 0.0, 0, 50.0, 90.0)}
    missed = {"b": Seen(IN, 0.0, 1, 102.0, 99.0)}
    assert doubt(["b"], quiet, 100.0, fault="", crowd="6 of 10") == ""
    assert doubt(["b"], missed, 100.0, fault="", crowd="6 of 10") == "6 of 10, and the target missed a probe too"
    assert doubt(["b"], quiet, 100.0, fault="deaf", crowd="") == "deaf"
    assert doubt(["b"], missed, 100.0, fault="", crowd="") == ""
