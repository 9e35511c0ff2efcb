"""Call records: what is written is read back by a successor; what was torn is dropped, whole, and nothing else."""

from __future__ import annotations

import pytest

from sipctl.call import records as module
from sipctl.call.records import ANSWERED, MAX_INVITE_BYTES, SETUPS, SLOT_BYTES, Base, Records

INVITE = b"INVITE sip:+4930901820@203.0.113.9 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1\r\n\r\n" + b"v=0\r\n" * 40
BRANCH = b"z9hG4bKraabaa6f57a490hkjibfnkpdckcijeppmhdlfj"


def memory() -> memoryview:
    return memoryview(bytearray(SLOT_BYTES))


def a_base(invite: bytes = INVITE) -> Base:
    return Base(invite, 0, "198.51.100.1", 5060, 1, 2, 3, 10.0, 1000.0, b"12345678")


def a_setup(records: Records) -> int:
    slot = records.open_setup(a_base())
    records.write_server(slot, 0, 1, 180, 1, 42.0, 1001.0)
    records.write_attempt(slot, 0, 1, 6, 0, 77, 11, 3, 1, "10.4.1.11", 5060, 10.5, 11.5, BRANCH, b"sip:+4930901820@10.4.1.11")
    return slot


def test_a_fresh_memory_is_empty_and_a_successor_reads_what_was_written() -> None:
    shared = memory()
    first = Records(shared)
    assert first.setups_in_use == first.answered_in_use == 0
    slot = a_setup(first)
    call = first.open_answered(1, 11, 3, 2, 1000.0, 10.0, 0.0, b"k" * 16, b"12345678", 0, "2001:db8::1", 5060)

    second = Records(shared)
    (setup,) = second.setups()
    assert (setup.slot, setup.base) == (slot, a_base())
    assert setup.server is not None
    assert (setup.server.status, setup.server.due_s) == (180, 42.0)
    (attempt,) = setup.attempts
    assert (attempt.branch, attempt.uri, attempt.host, attempt.deadline_s) == (
        BRANCH, b"sip:+4930901820@10.4.1.11", "10.4.1.11", 11.5,
    )  # fmt: skip
    (answered,) = second.all_answered()
    assert (answered.slot, answered.host, answered.key) == (call, "2001:db8::1", b"k" * 16)
    assert second.setups_in_use == second.answered_in_use == 1


def test_an_attempt_that_moves_keeps_what_stays() -> None:
    shared = memory()
    records = Records(shared)
    slot = a_setup(records)
    records.move_attempt(slot, 0, 2, 17, 486, 99.0)
    (setup,) = Records(shared).setups()
    (attempt,) = setup.attempts
    assert (attempt.state, attempt.flags, attempt.status, attempt.deadline_s, attempt.branch) == (2, 17, 486, 99.0, BRANCH)


def test_the_final_response_is_kept_behind_the_invite_if_it_fits() -> None:
    shared = memory()
    records = Records(shared)
    slot = records.open_setup(a_base())
    records.write_server(slot, 1, 2, 486, 1, 42.0, 0.0, b"SIP/2.0 486 Busy Here\r\n\r\n")
    (setup,) = Records(shared).setups()
    assert setup.server is not None
    assert setup.server.final == b"SIP/2.0 486 Busy Here\r\n\r\n"
    records.write_server(slot, 1, 2, 486, 1, 42.0, 0.0, b"x" * MAX_INVITE_BYTES)
    (setup,) = Records(shared).setups()
    assert setup.server is not None
    assert setup.server.final == b""


def test_any_octet_torn_off_a_set_up_drops_its_section_and_never_raises() -> None:
    shared = memory()
    slot = a_setup(Records(shared))
    start = module._SETUPS_AT + slot * module.SETUP_BYTES
    whole = bytes(shared[start : start + module.SETUP_BYTES])
    used = module._INVITE_AT + len(INVITE)
    for offset in (*range(module._INVITE_AT), *range(module._INVITE_AT, used, 9)):
        shared[start : start + module.SETUP_BYTES] = whole
        shared[start + offset] ^= 0xFF
        for setup in Records(shared).setups():
            assert setup.base == a_base(), "a base that is handed out is whole"
            assert setup.server is None or setup.server.status == 180
            assert not setup.attempts or setup.attempts[0].branch == BRANCH


def test_any_octet_torn_off_an_answered_call_drops_it_and_frees_its_place() -> None:
    shared = memory()
    records = Records(shared)
    slot = records.open_answered(1, 11, 3, 2, 1000.0, 10.0, 0.0, b"k" * 16, b"12345678", 0, "198.51.100.1", 5060)
    start = module._ANSWERED_AT + slot * module.ANSWERED_BYTES
    whole = bytes(shared[start : start + module.ANSWERED_BYTES])
    for offset in range(module._ANSWERED_RECORD.size):
        shared[start : start + module.ANSWERED_BYTES] = whole
        shared[start + offset] ^= 0xFF
        torn = Records(shared)
        assert list(torn.all_answered()) == []
        assert torn.answered_in_use == 0


def test_a_full_table_says_so_and_takes_calls_again_once_one_ended() -> None:
    records = Records(memory())
    slots = [records.open_setup(a_base(b"x")) for _ in range(SETUPS)]
    assert len(set(slots)) == SETUPS
    assert records.open_setup(a_base()) == -1
    records.close_setup(slots[7])
    assert records.open_setup(a_base()) == slots[7]
    calls = [records.open_answered(1, 1, 1, 1, 0.0, 0.0, 0.0, b"", b"", 0, "", 0) for _ in range(ANSWERED)]
    assert -1 not in calls
    assert records.open_answered(1, 1, 1, 1, 0.0, 0.0, 0.0, b"", b"", 0, "", 0) == -1


def test_an_invite_longer_than_a_record_is_not_recorded() -> None:
    records = Records(memory())
    assert records.open_setup(a_base(b"x" * MAX_INVITE_BYTES)) >= 0
    assert records.open_setup(a_base(b"x" * (MAX_INVITE_BYTES + 1))) == -1


def test_memory_of_another_version_or_too_small_is_refused() -> None:
    shared = memory()
    shared[:4] = b"else"
    with pytest.raises(ValueError, match="another version"):
        Records(shared)
    with pytest.raises(ValueError, match="are needed"):
        Records(shared[:100])


def test_health_cells_outlive_the_router_and_torn_ones_are_forgotten() -> None:
    shared = memory()
    records = Records(shared)
    records.write_cell(0, 11, b"abc")
    records.write_cell(5, 12, b"x" * module.MAX_CELL_BYTES)
    assert list(Records(shared).cells()) == [(0, 11, b"abc"), (5, 12, b"x" * module.MAX_CELL_BYTES)]
    shared[module._CELLS_AT + 10] ^= 1
    assert [number for number, _, _ in Records(shared).cells()] == [5]
    with pytest.raises(ValueError, match="do not fit"):
        records.write_cell(1, 1, b"x" * (module.MAX_CELL_BYTES + 1))
