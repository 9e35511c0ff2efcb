"""Log lines: one JSON object each, never waited for."""

import json
import os
import threading
from pathlib import Path

from sipctl.telemetry.log import LineWriter, logger


def test_a_line_is_one_json_object_with_its_time_and_fields(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "desk.jsonl")
    log = logger(writer, lambda: 1_000_000_000.25, role="desk")
    log.info("call refused", called="+4930901820", text="to +4930901820\r\nX: y", count=3)
    log.debug("not shown")
    writer.close()
    lines = (tmp_path / "desk.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "at": "2001-09-09T01:46:40.250Z", "level": "info", "role": "desk", "event": "call refused",
            "called": "+******1820", "text": "to +******1820\\r\\nX: y", "count": 3,
        }
    ]  # fmt: skip
    assert (tmp_path / "desk.jsonl").stat().st_mode & 0o777 == 0o600


def test_an_exception_becomes_one_line(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "desk.jsonl")
    log = logger(writer, lambda: 0.0)
    try:
        raise ValueError("no route to +4930901820")
    except ValueError:
        log.exception("unexpected")
    writer.close()
    (line,) = (tmp_path / "desk.jsonl").read_text().splitlines()
    assert "+4930901820" not in line and "ValueError" in json.loads(line)["exception"]


def test_a_blocked_pipe_delays_nobody_and_loses_countably() -> None:
    reader, pipe = os.pipe()
    writer = LineWriter(pipe, max_queued=100)
    for _ in range(2_000):
        writer.write(b"x" * 999 + b"\n")  # far more than pipe and queue hold; nobody reads
    assert writer.dropped > 0
    before = writer.dropped

    received = bytearray()

    def drain() -> None:
        while chunk := os.read(reader, 65536):
            received.extend(chunk)

    thread = threading.Thread(target=drain)
    thread.start()
    writer.close()
    os.close(pipe)
    thread.join()
    os.close(reader)
    assert received.count(b"x" * 999 + b"\n") == 2_000 - before
    told = [json.loads(line) for line in received.splitlines() if line.startswith(b"{")]
    assert told[-1]["dropped"] == before


def test_a_full_disk_is_told_once_and_counted() -> None:
    told: list[str] = []
    writer = LineWriter(Path("/dev/full"), on_failure=told.append)
    for _ in range(5):
        writer.write(b"line\n")
    writer.close()
    assert writer.dropped == 5
    assert len(told) == 1 and "No space left" in told[0]


def test_a_big_file_is_turned_over_once(tmp_path: Path) -> None:
    path = tmp_path / "desk.jsonl"
    path.write_bytes(b"x" * 1000)
    writer = LineWriter(path, max_file_bytes=500)
    writer.write(b"first\n")
    writer.close()
    writer = LineWriter(path, max_file_bytes=500)
    writer.write(b"second\n")
    writer.close()
    assert b"second" in path.read_bytes() + (tmp_path / "desk.jsonl.1").read_bytes()
    assert (tmp_path / "desk.jsonl.1").read_bytes().startswith(b"x" * 1000)
