"""What several routers tell each other in shared memory: counts that limits read, health, and who lives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.routing.board import LIVE_S, MAX_COUNTED, SECTION_BYTES, Board, board_bytes
from sipctl.routing.counts import ENTRY, NEW_CALLS, TRUNK, Counts


def boards(slots: int) -> list[Board]:
    memory = memoryview(bytearray(board_bytes(slots)))
    return [Board(memory, slots, slot) for slot in range(slots)]


def test_the_sum_of_the_others_is_read_by_id_whatever_each_of_them_tells() -> None:
    one, two, three = (Counts(board) for board in boards(3))
    one.publish({ENTRY | 7: 1, TRUNK | 3: 2})
    two.publish({TRUNK | 3: 5})
    three.publish({ENTRY | 9: 4, ENTRY | 7: 10, TRUNK | 3: 20})
    assert one.elsewhere(ENTRY, 7) == 10
    assert one.elsewhere(TRUNK, 3) == 25
    assert two.elsewhere(TRUNK, 3) == 22
    assert two.elsewhere(ENTRY, 7) == 0, "what one has no limit for it does not ask for"
    three.note(ENTRY, 7, 11)
    assert one.elsewhere(ENTRY, 7) == 11


def test_a_new_layout_is_seen_at_once_and_whole() -> None:
    one, two = (Counts(board) for board in boards(2))
    one.publish({ENTRY | 1: 3, ENTRY | 2: 4})
    two.publish({ENTRY | 2: 6, ENTRY | 1: 5})
    assert [one.elsewhere(ENTRY, number) for number in (1, 2)] == [5, 6]
    two.publish({ENTRY | 3: 1, ENTRY | 1: 50, ENTRY | 2: 60})
    assert [one.elsewhere(ENTRY, number) for number in (1, 2)] == [50, 60]
    one.publish({ENTRY | 2: 0})
    assert one.elsewhere(ENTRY, 2) == 60


@given(st.lists(st.dictionaries(st.integers(1, 30), st.integers(0, 100)), min_size=1, max_size=6))
def test_a_successor_finds_the_counts_of_the_dead_until_it_tells_its_own(layouts: list[dict[int, int]]) -> None:
    memory = memoryview(bytearray(board_bytes(2)))
    reader = Counts(Board(memory, 2, 0))
    reader.publish({ENTRY | number: 0 for number in range(1, 31)})
    for layout in layouts:
        writer = Counts(Board(memory, 2, 1))  # each a new process
        writer.publish({ENTRY | number: count for number, count in layout.items()})
        assert {number: reader.elsewhere(ENTRY, number) for number in layout} == layout
        absent = set(range(1, 31)) - set(layout)
        assert not any(reader.elsewhere(ENTRY, number) for number in absent)


def test_new_calls_a_second_are_summed_over_windows_that_begin_at_different_instants() -> None:
    one, two = (Counts(board) for board in boards(2))
    one.publish({NEW_CALLS | 1: 0})
    two.publish({NEW_CALLS | 1: 0})
    two.note_window(1, 100.0, 4, 10)
    assert one.cps_elsewhere(1, 100.0) == 14
    assert one.cps_elsewhere(1, 100.5) == 9
    assert one.cps_elsewhere(1, 101.5) == 2, "a window its owner has not turned goes on sliding"
    assert one.cps_elsewhere(1, 102.0) == 0


def test_more_limits_than_there_is_room_for_are_counted() -> None:
    board = boards(2)[0]
    assert Counts(board).publish({ENTRY | number: 0 for number in range(MAX_COUNTED + 5)}) == 5


def test_the_lowest_live_router_leads_and_a_death_is_seen_at_once() -> None:
    zero, one, two = boards(3)
    assert zero.leader(50.0) == -1
    for board in (two, one, zero):
        board.beat(50.0)
    assert two.leader(50.1) == 0
    two.mark_dead(0)
    assert two.leader(50.1) == 1
    two.beat(50.0 + 2 * LIVE_S)
    assert two.leader(50.0 + 2 * LIVE_S) == 2, "one that has not turned for so long is not counted on"


def test_health_is_read_by_all_newest_first_and_torn_cells_are_left_for_the_next_look() -> None:
    zero, one = boards(2)
    assert zero.newest_health() is None
    zero.mine.write_health(4, b"four")
    zero.mine.write_health(9, b"nine")
    zero.mine.sign_health(10.0)
    assert one.newest_health() is one.sections[0]
    assert dict(one.sections[0].read_health()) == {4: b"four", 9: b"nine"}
    zero.mine.health[20] ^= 1  # half written
    assert dict(one.sections[0].read_health()) == {9: b"nine"}
    zero.mine.write_health(4, b"mended")
    assert dict(one.sections[0].read_health()) == {4: b"mended", 9: b"nine"}
    one.mine.write_health(4, b"of one")
    one.mine.sign_health(11.0)
    assert zero.newest_health() is zero.sections[1]


def test_a_successor_goes_on_with_the_cells_of_its_slot() -> None:
    memory = memoryview(bytearray(board_bytes(2)))
    before = Board(memory, 2, 0)
    before.mine.write_health(4, b"four")
    after = Board(memory, 2, 0)
    after.mine.write_health(9, b"nine")
    after.mine.write_health(4, b"again")
    assert dict(after.mine.read_health()) == {4: b"again", 9: b"nine"}


def test_a_board_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="board"):
        Board(memoryview(bytearray(SECTION_BYTES)), 2, 0)
