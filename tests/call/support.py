"""One core on the small plan of tests/support/plans.py, with a clock that tests move, and messages to feed it."""

from __future__ import annotations

from sipctl.call.core import Core
from sipctl.call.records import SLOT_BYTES
from sipctl.health.judge import Judge
from sipctl.routing.join import RoutingSnapshot
from tests.support.plans import a_snapshot

CARRIER = ("198.51.100.1", 5060)
SBC = ("10.4.1.11", 5060)
OUTSIDE, INSIDE = 0, 1

Out = list[tuple[int, bytes, tuple[str, int]]]


class Bench:
    """A router's core without its driver."""

    def __init__(
        self, snapshot: RoutingSnapshot | None = None, failpoints: frozenset[str] = frozenset(), memory: memoryview | None = None
    ) -> None:  # fmt: skip
        self.snapshot = snapshot or a_snapshot()
        self.memory = memoryview(bytearray(SLOT_BYTES)) if memory is None else memory
        self.now_s = 1000.0
        self.notes: list[tuple[object, ...]] = []
        self.core = Core(
            slot=0, sockets=self.snapshot.listens, memory=self.memory, entropy=bytes(32), unix_minus_mono_s=1e9, judge=Judge(1),
            failpoints=failpoints,
        )  # fmt: skip
        self.core.swap(self.snapshot, self.now_s)

    def receive(self, data: bytes, socket: int = OUTSIDE, address: tuple[str, int] = CARRIER) -> Out:
        """What the core sends when that arrives."""
        out: Out = []
        self.core.receive(data, socket, address, self.now_s, out, self.notes)
        return out

    def run(self, seconds: float) -> Out:
        """Everything sent while time passes, probes left out."""
        out: Out = []
        until_s = self.now_s + seconds
        while (due_s := self.core.next_due_s) is not None and due_s <= until_s:
            self.now_s = max(self.now_s, due_s)
            self.core.tick(self.now_s, out, self.notes)
        self.now_s = until_s
        return [entry for entry in out if not entry[1].startswith(b"OPTIONS")]


def an_invite(number: int = 1, to: bytes = b"+4930901820", headers: bytes = b"", body: bytes = b"") -> bytes:
    """An INVITE as a carrier writes it."""
    return (
        b"INVITE sip:%b@203.0.113.9 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-%d\r\nMax-Forwards: 70\r\n"
        b'From: "Caller" <sip:+4930123456@198.51.100.1>;tag=f%d\r\nTo: <sip:%b@203.0.113.9>\r\nCall-ID: call-%d\r\n'
        b"CSeq: 1 INVITE\r\nContact: <sip:caller@198.51.100.1:5060>\r\n%bContent-Length: %d\r\n\r\n%b"
    ) % (to, number, number, to, number, headers, len(body), body)


def a_response(request: bytes, status: int, headers: bytes = b"", tag: bytes = b"t") -> bytes:
    """What an SBC answers to a request it received."""
    head, _, _ = request.partition(b"\r\n\r\n")
    kept = []
    for line in head.split(b"\r\n")[1:]:
        if line.startswith((b"Via:", b"From:", b"Call-ID:", b"CSeq:", b"Record-Route:")):
            kept.append(line)
        elif line.startswith(b"To:"):
            kept.append(line if b";tag=" in line else line + b";tag=" + tag)
    return b"SIP/2.0 %d X\r\n" % status + b"\r\n".join(kept) + b"\r\n" + headers + b"Content-Length: 0\r\n\r\n"


def a_request(method: bytes, answer: bytes, number: int, cseq: int, branch: bytes) -> bytes:
    """A request of the caller in the dialog that `answer` (as the caller heard it) began."""
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    routes = [line[14:] for line in lines if line.startswith(b"Record-Route: ")]
    to = next(line for line in lines if line.startswith(b"To:"))
    from_ = next(line for line in lines if line.startswith(b"From:"))
    return b"\r\n".join((
        b"%b sip:agent@10.4.1.11:5060 SIP/2.0" % method, b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-%b" % branch,
        b"Max-Forwards: 70", b"Route: " + b", ".join(reversed(routes)), from_, to, b"Call-ID: call-%d" % number,
        b"CSeq: %d %b" % (cseq, method), b"Content-Length: 0", b"", b"",
    ))  # fmt: skip
