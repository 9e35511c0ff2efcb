"""What a reply to OPTIONS means."""

from __future__ import annotations

from importlib import resources

import pytest

from sipctl.health.replies import SHIPPED, Verdict, parse_replies


def test_the_shipped_file_and_the_shipped_data_say_the_same() -> None:
    text = resources.files("sipctl.health").joinpath("replies.csv").read_text(encoding="utf-8")
    assert parse_replies(text.splitlines()) == SHIPPED


@pytest.mark.parametrize(
    ("status", "retry_after", "verdict"),
    [
        (200, False, Verdict.ALIVE), (202, False, Verdict.ALIVE), (302, False, Verdict.ALIVE), (401, False, Verdict.ALIVE),
        (404, False, Verdict.ALIVE), (408, False, Verdict.ALIVE), (481, False, Verdict.ALIVE), (483, False, Verdict.ALIVE),
        (500, False, Verdict.FAILED), (501, False, Verdict.ALIVE), (502, True, Verdict.FAILED), (503, False, Verdict.FAILED),
        (503, True, Verdict.BUSY), (504, False, Verdict.FAILED), (600, False, Verdict.ALIVE), (0, False, Verdict.FAILED),
        (700, False, Verdict.FAILED),
    ],
)
def test_each_status_has_its_verdict(status: int, retry_after: bool, verdict: Verdict) -> None:
    assert SHIPPED.verdict(status, has_retry_after=retry_after) is verdict


def test_a_pairs_own_table_beats_the_shipped_one() -> None:
    overrides = ((404, "failed"), (503, "alive"))
    assert SHIPPED.verdict(404, has_retry_after=False, overrides=overrides) is Verdict.FAILED
    assert SHIPPED.verdict(503, has_retry_after=True, overrides=overrides) is Verdict.ALIVE
    assert SHIPPED.verdict(405, has_retry_after=False, overrides=overrides) is Verdict.ALIVE


@pytest.mark.parametrize(("row", "complaint"), [("200,,good,", "line 2: verdict 'good'"), ("99,,alive,", "line 2: status '99'"),
                                                ("2x0,,alive,", "line 2: status '2x0'"), ("7xx,,alive,", "line 2: status '7xx'")])
def test_a_bad_row_is_named(row: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_replies(["status,retry_after,verdict,why", row])
