"""The demo's plan is a good plan, and its ledger tells a lost call from one that is well."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from sipctl.cli.main import main
from sipctl.testing.demo_display import Display, Picture
from sipctl.testing.demo_parties import is_lost, is_settled, is_well
from sipctl.testing.demo_plan import free_addresses, write_plan
from sipctl.testing.ledger import CallNote

BYE_ANSWERED = [("BYE", 200)]


def a_note(answered: bool, ended_by: str, in_dialog: list[tuple[str, int]]) -> CallNote:
    note = CallNote("c1", "+49", 0.0, in_dialog=in_dialog)
    note.answered_s = 1.0 if answered else None
    note.ended_by, note.ended_s = ended_by, 2.0 if ended_by else None
    return note


@pytest.mark.parametrize(
    ("note", "well", "lost", "settled"),
    [
        (a_note(True, "", []), False, False, False),
        (a_note(True, "me", []), True, False, False),
        (a_note(True, "me", BYE_ANSWERED), True, False, True),
        (a_note(True, "peer", []), True, False, True),
        (a_note(True, "me", [("BYE", 481)]), False, True, True),
        (a_note(True, "bye-failed", [("BYE", 0)]), False, True, True),
        (a_note(True, "no-ack", []), False, True, False),
        (a_note(False, "refused", []), False, True, True),
        (a_note(False, "timeout", []), False, True, True),
    ],
)
def test_a_call_is_well_or_lost_or_still_open(note: CallNote, well: bool, lost: bool, settled: bool) -> None:
    if note.is_over:
        assert is_well(note) is well
    assert is_lost(note) is lost
    assert is_settled(note) is settled


def test_the_demos_plan_passes_check(tmp_path: Path) -> None:
    write_plan(tmp_path, free_addresses())
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path)])
    assert ended.value.code in (0, None)
    broken = tmp_path / "dialplans" / "demo.yaml"
    broken.write_text(broken.read_text(encoding="utf-8").replace("bcp: acme-bcp", "bcp: nobody"), encoding="utf-8")
    with pytest.raises(SystemExit) as refused:
        main(["check", str(tmp_path)])
    assert refused.value.code == 1


def test_without_a_terminal_it_prints_one_line_a_second(tmp_path: Path) -> None:
    target = tmp_path / "out"
    status = {
        "sbcs": {"fra-a": {"operating": "out-of-service"}},
        "groups": {"acme": {"state": "on-bcp", "bcp_percent": 100}},
    }
    with target.open("w", encoding="utf-8") as out:
        display = Display(Console(file=out, width=200), tty=False)
        with display:
            for tick in range(20):
                display.show(Picture(at_s=tick / 10, placed=tick, status=status))
            display.tell(2.0, "the story")
    lines = target.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3 and lines[-1].endswith("the story")
    assert "acme=on-bcp (100 % to BCP)" in lines[0] and "fra-a=out-of-service/0" in lines[0]
