"""What each modelled party saw of each call, and every breach of the protocol it noticed."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipctl.testing.wire import Address

MAX_BREACHES = 1000
TIMED_OUT = 0  # in place of a status: nothing came for 64·T1


@dataclass(slots=True)
class CallNote:
    """One call as one party saw it; instants are monotonic seconds."""

    call_id: str
    called: str
    started_s: float
    provisionals: list[int] = field(default_factory=list)
    final: int | None = None  # first final status, TIMED_OUT, or None while there is none
    final_s: float = 0.0
    answered_s: float | None = None
    answered_at: Address | None = None  # the other end's Contact
    acked_s: float | None = None
    cancelled_s: float | None = None  # CANCEL sent (caller) or taken (SBC)
    ended_s: float | None = None
    ended_by: str = ""  # "me" | "peer" | "refused" | "cancelled" | "timeout" | "no-ack" | "bye-failed"
    tags: list[str] = field(default_factory=list)  # remote tags of all 2xx, in order of arrival
    in_dialog: list[tuple[str, int]] = field(default_factory=list)  # requests I sent and the final each got
    heard: list[str] = field(default_factory=list)  # in-dialog requests I got
    extra_legs: int = 0  # further 2xx that were ended at once
    headers: dict[str, str] = field(default_factory=dict)  # Retry-After and Reason of the final
    replies: list[int] = field(default_factory=list)  # finals an SBC sent, retransmissions not counted
    invites: int = 0  # INVITEs heard, retransmissions included

    @property
    def is_up(self) -> bool:
        return self.answered_s is not None and self.ended_s is None

    @property
    def is_over(self) -> bool:
        return self.ended_s is not None


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing that a correct network never shows this party."""

    at_s: float
    party: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:.3f} {self.party}: {self.text}"


class Ledger:
    """Calls by Call-ID, breaches in order; calls that are over are dropped by whoever keeps it running for long."""

    __slots__ = ("breaches", "breaches_dropped", "calls", "options")

    def __init__(self) -> None:
        self.calls: dict[str, CallNote] = {}
        self.breaches: list[Breach] = []
        self.breaches_dropped = 0
        self.options = 0  # OPTIONS outside a dialog that were answered

    def breach(self, at_s: float, party: str, text: str) -> None:
        """Write down a breach; of more than MAX_BREACHES only the count is kept."""
        if len(self.breaches) < MAX_BREACHES:
            self.breaches.append(Breach(at_s, party, text))
        else:
            self.breaches_dropped += 1

    @property
    def up(self) -> int:
        """Calls that are up now."""
        return sum(note.is_up for note in self.calls.values())
