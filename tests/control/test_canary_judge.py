"""Whether a canary goes back: on figures alone, never on few calls, and next to never by chance."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sipctl.control.canary import (
    MAX_MARKS,
    MAX_SEEN,
    MIN_CALLS,
    WINDOW_S,
    ended,
    judged,
    marked,
    seen_more,
    total,
    window,
)
from sipctl.control.canary_state import Counts, Fell, Ratio, Seen, Wish, read_fell, read_wish, written
from sipctl.control.ports import CanaryObservation


def told(canary: Counts, others: Counts, revision: int = 7) -> CanaryObservation:
    return CanaryObservation(revision, canary, others)


@pytest.mark.parametrize(
    ("canary", "others", "verdict"),
    [
        ((0, 0, 49, 0), (1000, 0, 0, 0), "few"),  # all of them failed: still too few
        ((0, 0, 50, 0), (1000, 0, 0, 0), "fell"),
        ((0, 0, 50, 0), (49, 0, 0, 0), "few"),  # nobody to compare with
        ((25, 0, 25, 0), (990, 0, 10, 0), "fell"),
        ((50, 0, 0, 0), (990, 0, 10, 0), "well"),
        ((10, 40, 0, 0), (900, 90, 10, 0), "well"),  # busy is a person's affair
        ((48, 0, 2, 500), (990, 0, 10, 0), "well"),  # a caller who gives up is no failure
        ((47, 0, 3, 0), (990, 0, 10, 0), "well"),  # three of fifty may be chance
        ((0, 0, 80, 0), (0, 0, 800, 0), "well"),  # it is everybody's bad hour
        ((98_500, 0, 1_500, 0), (1_000_000, 0, 0, 0), "well"),  # beyond chance, and less than two points
        ((9_700, 0, 300, 0), (100_000, 0, 0, 0), "fell"),
    ],
)
def test_a_canary_falls_beyond_two_points_and_beyond_chance_and_on_fifty_calls(
    canary: Counts, others: Counts, verdict: str
) -> None:
    found = judged(Ratio(canary, others))
    assert {(True, False): "fell", (False, True): "well", (False, False): "few"}[found.fell, found.well] == verdict, found


def test_the_sentence_tells_the_figures_of_both_sides() -> None:
    assert judged(Ratio((31, 2, 31, 9), (1190, 7, 13, 50))).text == (
        "of 64 calls of the canary 51.6% reached somebody, of 1210 others 98.9% over the same time: "
        "47.4 points less, which is no chance (z 20.2)"
    )
    assert judged(Ratio((12, 0, 0, 3), (1190, 7, 13, 50))).text == ("too few calls to judge: 12 of the canary, 50 are needed")


def test_edits_that_change_nothing_next_to_never_go_back_however_often_they_are_looked_at() -> None:
    """300 canaries of 5 %, looked at after every second call of theirs; calls fail as often on both sides."""
    draw = random.Random(11)
    fell = 0
    for _ in range(300):
        failing, ratio = draw.choice((0.002, 0.005, 0.02, 0.1, 0.3)), Ratio()
        for _ in range(60):
            lost = sum(draw.random() < failing for _ in range(2))
            theirs_lost = min(max(round(draw.gauss(38 * failing, (38 * failing * (1 - failing)) ** 0.5)), 0), 38)
            ratio += Ratio((2 - lost, 0, lost, 0), (38 - theirs_lost, 0, theirs_lost, 0))
            if judged(ratio).fell:
                fell += 1
                break
    assert fell <= 2


def test_half_the_numbers_dead_is_seen_with_the_first_fifty_calls() -> None:
    draw = random.Random(5)
    for _ in range(200):
        lost = sum(draw.random() < 0.5 for _ in range(MIN_CALLS))
        assert judged(Ratio((MIN_CALLS - lost, 0, lost, 0), (940, 5, 5, 0))).fell


def test_what_is_judged_are_the_last_ten_minutes_so_a_late_fall_is_seen_soon() -> None:
    """Twelve hours well, then half the calls fail: within two minutes of calls, not after hours."""
    seen, now_s, at = Seen(), 1e9, 0
    for _ in range(12 * 240):
        at += 1
        now_s += 15.0
        seen = marked(seen_more(seen, "r1:1", told((10 * at, 0, 0, 0), (190 * at, 0, 0, 0)), 7), now_s, 1e9)
        assert judged(window(seen, now_s)).fell is False
    assert len(seen.marks) < 60
    minutes = 0.0
    lost = 0
    while not judged(window(seen, now_s)).fell:
        now_s, lost, minutes = now_s + 15.0, lost + 5, minutes + 0.25
        at += 1
        seen = marked(seen_more(seen, "r1:1", told((10 * at - lost, 0, lost, 0), (190 * at, 0, 0, 0)), 7), now_s, 1e9)
    assert minutes <= 2.0
    assert ended(window(seen, now_s).canary) < 600


def until_it_falls_s(well_s: float) -> float:
    """Of a canary that went well for so long, met a new controller, and loses 5 of 10 calls in each 15 s from then on."""
    began_s = 1e9
    well, now_s, lost = int(10 * well_s / 15), began_s + well_s, 0
    seen = Seen()
    for number in range(8):  # the routers come one after the other, and each tells all it has counted
        share = told((well // 8, 0, 0, 0), (19 * well // 8, 0, 0, 0))
        now_s += 0.5
        seen = marked(seen_more(seen, f"r{number}:1", share, 7), now_s, began_s)
    begin_s = now_s
    while not judged(window(seen, now_s)).fell and now_s - begin_s < 3600.0:
        now_s, lost = now_s + 15.0, lost + 5
        bad = told((well // 8 + lost, 0, lost, 0), (19 * well // 8 + 19 * 2 * lost, 0, 0, 0))
        seen = marked(seen_more(seen, "r7:1", bad, 7), now_s, began_s)
    return now_s - begin_s


def test_a_late_fall_is_seen_as_soon_by_a_controller_that_began_after_the_canary() -> None:
    """All that it is told first was before its time, and does not thin what happens now."""
    assert until_it_falls_s(6 * 3600.0) <= 90.0 and until_it_falls_s(48 * 3600.0) <= 90.0


def test_a_controller_that_began_after_the_canary_judges_its_whole_life_until_enough_came_since() -> None:
    seen, now_s = Seen(), 1e9 + 7200.0
    for word in (told((400, 0, 0, 0), (8000, 0, 0, 0)), told((440, 0, 0, 0), (8900, 0, 0, 0))):
        now_s += 6.0
        seen = marked(seen_more(seen, "r1:1", word, 7), now_s, 1e9)
        assert ended(window(seen, now_s).canary) == word.canary[0], "fifty of the canary's have not come since"
    seen = marked(seen_more(seen, "r1:1", told((450, 0, 0, 0), (9000, 0, 0, 0)), 7), now_s + 6.0, 1e9)
    assert window(seen, now_s + 6.0) == Ratio((50, 0, 0, 0), (1000, 0, 0, 0))


def test_a_canary_of_a_few_minutes_is_judged_by_all_of_it_whoever_controls() -> None:
    seen = marked(seen_more(Seen(), "r1:1", told((400, 0, 0, 0), (8000, 0, 0, 0)), 7), 1e9 + 300.0, 1e9)
    seen = marked(seen_more(seen, "r1:1", told((500, 0, 0, 0), (9900, 0, 0, 0)), 7), 1e9 + 320.0, 1e9)
    assert window(seen, 1e9 + 320.0) == Ratio((500, 0, 0, 0), (9900, 0, 0, 0))


def test_a_quiet_site_is_judged_over_as_long_as_it_needs() -> None:
    """Four calls a quarter of an hour: fifty of the canary's take hours, and are waited for."""
    seen, now_s = Seen(), 1e9
    for at in range(1, 5000):
        now_s += 15.0
        seen = marked(seen_more(seen, "r1:1", told((at // 60, 0, 0, 0), (at * 2, 0, 0, 0)), 7), now_s, 1e9)
        assert len(seen.marks) <= MAX_MARKS + 1
    assert judged(window(seen, now_s)).well and now_s - seen.marks[0][0] > WINDOW_S


def test_every_process_of_a_router_counts_once_and_the_dead_still_count() -> None:
    seen = Seen()
    for word in (told((1, 0, 0, 0), (9, 0, 0, 0)), told((5, 1, 1, 1), (40, 0, 0, 0))):
        seen = seen_more(seen, "r1:100", word, 7)
    assert total(seen) == Ratio((5, 1, 1, 1), (40, 0, 0, 0))
    seen = seen_more(seen, "r1:200", told((2, 0, 0, 0), (1, 0, 0, 0)), 7)
    assert total(seen) == Ratio((7, 1, 1, 1), (41, 0, 0, 0))
    assert seen_more(seen, "r1:200", told((9, 9, 9, 9), (9, 9, 9, 9), revision=6), 7) is seen, "of another canary"
    assert seen_more(seen, "r1:200", None, 7) is seen
    for pid in range(1000):
        seen = seen_more(seen, f"r1:{pid}", told((1, 0, 0, 0), (1, 0, 0, 0)), 7)
    assert len(seen.routers) == MAX_SEEN


def test_a_wish_and_a_fall_come_back_from_the_store_as_they_were() -> None:
    wish = Wish(813, 50, 1e9, 1e9 + 600, "ops-1", "CHG7", {"fra-a": 1 << 23})
    fell = Fell(812, "it went back", 1e9)
    plain = written(wish, fell)
    assert (read_wish(plain), read_fell(plain)) == (wish, fell)
    held = replace(wish, until_unix_s=None)
    assert read_wish(written(held, None)) == held and read_fell(written(held, None)) is None
    assert (read_wish({}), read_fell({})) == (None, None)
