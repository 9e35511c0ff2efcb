"""SIPp as carrier and as SBC: starts it on an address of its own, reads its statistics, ends it by pid.

Scenarios are ours (`tests/real/scenarios`). `@NAME@` in them is filled in here, since SIPp can't take an expected status or
a whole block from the command line.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import SIP_PORT, Child, Processes, is_bound, wait_until

SCENARIOS = Path(__file__).parent.parent / "real" / "scenarios"
CALLING = "+49301234[call_number]"  # every call its own caller
START_S = 5.0
# How the calls of sbc_deaf_later.xml end: by the caller's BYE, or by the SBC's own after -d milliseconds.
ENDED_BY_CALLER = "caller"
ENDED_BY_CALLEE = "callee"


@dataclass(frozen=True, slots=True)
class Counts:
    """SIPp's own account, cumulative."""

    created: int = 0
    current: int = 0
    successful: int = 0
    failed: int = 0
    retransmissions: int = 0
    dead_call_messages: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # SIPp's reasons that are not zero


@dataclass(frozen=True, slots=True)
class Message:
    """One message as SIPp saw it; wall-clock instants, which all processes of this host share."""

    at_unix_s: float
    received: bool
    call_id: str
    cseq: str  # "1 INVITE"
    start_line: str

    def is_request(self, method: str) -> bool:
        return self.start_line.startswith(f"{method} ")


@dataclass(frozen=True, slots=True)
class Dialog:
    """What identifies one established call, and the token in our Record-Route."""

    call_id: str
    caller_tag: str
    callee_tag: str
    token: str


def counts_in(text: str) -> Counts:
    """The last line of a statistics file (`-trace_stat`)."""
    rows = list(csv.DictReader(text.splitlines(), delimiter=";"))
    if not rows:
        return Counts()
    row = {name: value for name, value in rows[-1].items() if name is not None and value is not None}

    def number(name: str) -> int:
        return int(row.get(name) or 0)

    failures = {
        name.removesuffix("(C)"): number(name)
        for name in row
        if name.endswith("(C)") and name.startswith("Failed") and name != "FailedCall(C)" and number(name)
    }
    return Counts(
        number("TotalCallCreated"), number("CurrentCall"), number("SuccessfulCall(C)"), number("FailedCall(C)"),
        number("Retransmissions(C)"), number("DeadCallMsgs(C)"), failures,
    )  # fmt: skip


@dataclass(slots=True)
class Sipp:
    """One running SIPp."""

    child: Child
    folder: Path
    host: str

    def counts(self) -> Counts:
        """What its statistics file says now (written once a second, and at its end)."""
        path = self.folder / "stat.csv"
        return counts_in(path.read_text(errors="replace")) if path.exists() else Counts()

    def finish(self, timeout_s: float) -> Counts:
        """Wait until all its calls are over; what became of them."""
        self.child.wait(timeout_s)
        return self.counts()

    def succeed(self, calls: int, timeout_s: float) -> Counts:
        """Wait until all its calls are over; AssertionError with SIPp's reasons unless every one succeeded."""
        counts = self.finish(timeout_s)
        assert (counts.successful, counts.failed) == (calls, 0), f"{self.child.name}: {counts}\n{self.errors()}"
        return counts

    def wait_for_calls(self, current: int, timeout_s: float) -> None:
        wait_until(lambda: self.counts().current >= current, timeout_s, f"{current} calls up at {self.child.name}", 0.1)

    def received(self, method: str) -> int:
        """Requests of this kind its scenario took, retransmissions apart (written once a second, and at its end)."""
        rows: list[dict[str, str]] = []
        for path in self.folder.glob("*_counts.csv"):
            rows = list(csv.DictReader(path.read_text(errors="replace").splitlines(), delimiter=";"))
        last = rows[-1] if rows else {}
        return sum(int(value or 0) for name, value in last.items() if name and name.endswith(f"_{method}_Recv"))

    def wait_received(self, method: str, count: int, timeout_s: float = 5) -> None:
        """Wait until its own count says so; AssertionError if it doesn't, or says more."""
        wait_until(lambda: self.received(method) >= count, timeout_s, f"{count} {method} at {self.child.name} {self.host}", 0.1)
        assert self.received(method) == count, f"{self.received(method)} {method} at {self.host}, expected {count}"

    def response_times_ms(self) -> list[float]:
        """Time from INVITE to the `rtd` mark of every call (only with `response_times=True`)."""
        times: list[float] = []
        for path in self.folder.glob("*_rtt.csv"):
            rows = csv.reader(path.read_text(errors="replace").splitlines()[1:], delimiter=";")
            times += [float(row[1]) for row in rows if len(row) > 1]
        return times

    def messages(self) -> list[Message]:
        """Every message it sent and received, in order (only with `short_messages=True`)."""
        found: list[Message] = []
        for path in self.folder.glob("*_shortmessages.log"):
            for line in path.read_text(errors="replace").splitlines():
                fields = line.split("\t")
                if len(fields) >= 7:
                    cseq = fields[5].partition(":")[2].strip()
                    found.append(Message(float(fields[2]), fields[3] == "R", fields[4], cseq, fields[6]))
        return found

    def dialogs(self) -> list[Dialog]:
        """What a BYE of each of its calls would need (only with `messages=True`)."""
        found: dict[str, Dialog] = {}
        for path in self.folder.glob("*_messages.log"):
            for block in path.read_text(errors="replace").split("-----------------------------------------------"):
                call_id = re.search(r"^Call-ID: *(\S+)", block, re.MULTILINE)
                ours = re.search(r"^From:.*;tag=(\S+)", block, re.MULTILINE)
                theirs = re.search(r"^To:.*;tag=(\S+)", block, re.MULTILINE)
                token = re.search(r"^Record-Route: *<sip:([a-z2-7]+)@", block, re.MULTILINE)
                if call_id and ours and theirs and token and "SIP/2.0 200" in block:
                    found[call_id[1]] = Dialog(call_id[1], ours[1], theirs[1], token[1])
        return list(found.values())

    def errors(self, size_bytes: int = 4000) -> str:
        """The end of its error log."""
        path = self.folder / "errors.log"
        return path.read_bytes()[-size_bytes:].decode(errors="replace") if path.exists() else self.child.tail()


def _scenario(folder: Path, name: str, fill: Mapping[str, str]) -> Path:
    text = (SCENARIOS / f"{name}.xml").read_text(encoding="utf-8").replace("@CALLING@", CALLING)
    for key, value in fill.items():
        text = text.replace(f"@{key}@", value)
    path = folder / f"{name}.xml"
    path.write_text(text, encoding="utf-8")
    return path


def _start(
    group: Processes, name: str, scenario: str, host: str, arguments: Sequence[str], *, fill: Mapping[str, str], transport: str,
    hold_ms: int, short_messages: bool, messages: bool, keys: Mapping[str, str], port: int,
) -> Sipp:  # fmt: skip
    program = shutil.which("sipp")
    assert program is not None, "sipp is not installed: make test installs it as root, else: apt-get install sip-tester"
    folder = group.work / f"{name}-{host}-{scenario}"
    for step in range(1000):
        if not folder.exists():
            break
        folder = group.work / f"{name}-{host}-{scenario}-{step}"
    folder.mkdir(parents=True)
    argv = [
        program, "-sf", str(_scenario(folder, scenario, fill)), "-i", host, "-bind_local", "-p", str(port), "-ci", host,
        "-t", transport, "-d", str(hold_ms), "-nostdin", "-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_counts",
        "-trace_err", "-error_file", "errors.log", "-buff_size", "4194304", "-skip_rlimit",
    ]  # fmt: skip
    for key, value in keys.items():
        argv += ["-key", key, value]
    argv += ["-trace_shortmsg"] if short_messages else []
    argv += ["-trace_msg"] if messages else []
    return Sipp(group.start(name, [*argv, *arguments], cwd=folder), folder, host)


def start_sbc(
    group: Processes, host: str, scenario: str = "sbc_answer", *, fill: Mapping[str, str] | None = None, transport: str = "u1",
    hold_ms: int = 0, short_messages: bool = False, messages: bool = False, keys: Mapping[str, str] | None = None,
    port: int = SIP_PORT,
) -> Sipp:  # fmt: skip
    """An SBC at `host`, ready when this returns."""
    sbc = _start(
        group, "sbc", scenario, host, ["-nd"], fill=fill or {}, transport=transport, hold_ms=hold_ms,
        short_messages=short_messages, messages=messages, keys=keys or {}, port=port,
    )  # fmt: skip
    bound = "tcp" if transport.startswith("t") else "udp"
    wait_until(lambda: is_bound(host, port, bound) or not sbc.child.is_running, START_S, f"SIPp bound to {host}")
    assert sbc.child.is_running, f"SIPp did not start: {sbc.child.tail()}"
    return sbc


def start_carrier(
    group: Processes, host: str, target: str, number: str, scenario: str = "carrier_call", *, calls: int = 1, rate: float = 10,
    hold_ms: int = 100, fill: Mapping[str, str] | None = None, transport: str = "u1", limit: int = 30000,
    response_times: bool = False, short_messages: bool = False, messages: bool = False, port: int = SIP_PORT,
    extra: Sequence[str] = (),
) -> Sipp:  # fmt: skip
    """A carrier at `host` that places `calls` calls to `number` at `target`, `rate` a second; it ends by itself."""
    arguments = [f"{target}:{SIP_PORT}", "-s", number, "-r", str(rate), "-m", str(calls), "-l", str(limit), *extra]
    arguments += ["-trace_rtt", "-rtt_freq", "1"] if response_times else []
    return _start(
        group, "carrier", scenario, host, arguments, fill=fill or {}, transport=transport, hold_ms=hold_ms,
        short_messages=short_messages, messages=messages, keys={}, port=port,
    )  # fmt: skip


def start_refusing_sbc(
    group: Processes, host: str, status: int, phrase: str, headers: Sequence[str] = (), *, after_ms: int = 0,
    short_messages: bool = False,
) -> Sipp:  # fmt: skip
    """An SBC whose OPTIONS are fine and which refuses every INVITE, at once or after a while."""
    fill = {"STATUS": str(status), "PHRASE": phrase, "HEADERS": "".join(f"{line}\n" for line in headers)}
    return start_sbc(group, host, "sbc_refuse", fill=fill, hold_ms=after_ms, short_messages=short_messages)


def start_deaf_later_sbc(
    group: Processes, host: str, deaf_from_unix_s: int, *, ended_by: str = ENDED_BY_CALLER, hold_ms: int = 0,
    refuses: bool = False,
) -> Sipp:  # fmt: skip
    """An SBC that carries calls and from an instant on ignores OPTIONS and new INVITEs only, or refuses the latter."""
    text = (SCENARIOS / ("sbc_answer.xml" if ended_by == ENDED_BY_CALLER else "sbc_answer_and_hang_up.xml")).read_text()
    end = text[text.index('<recv request="ACK"') :]
    end = end[end.index("\n") + 1 : end.index('<nop next="done"/>')]
    # What its own BYE is made of; SIPp refuses a scenario that keeps what it never uses.
    save = "" if ended_by == ENDED_BY_CALLER else "".join(line + "\n" for line in text.splitlines() if line.startswith("<ereg "))
    return start_sbc(
        group, host, "sbc_refuse_later" if refuses else "sbc_deaf_later", fill={"END": end, "SAVE": save}, hold_ms=hold_ms,
        short_messages=True, keys={"deaf_from": str(deaf_from_unix_s)},
    )  # fmt: skip
