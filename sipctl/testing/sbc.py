"""A modelled SBC with a tenant behind it: takes calls as its behaviour says, and judges what it hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sipctl.testing.ledger import CallNote, Ledger
from sipctl.testing.party import ALLOW, Dialog, Key, Party, Server
from sipctl.testing.wire import Address, Message, Output, address_of, parameter, uri_of

INVITE_KEPT_S: Final = 600.0  # an INVITE that never got a final is forgotten

REASONS: Final = {
    300: "Multiple Choices", 302: "Moved Temporarily", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    408: "Request Timeout", 480: "Temporarily Unavailable", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 500: "Server Internal Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the SBC does with one INVITE; seconds since it came; None: never."""

    trying_s: float | None = 0.0  # 100
    ring_s: float | None = 0.1  # 180, unless a final comes first
    final_s: float | None = 0.5
    status: int = 200  # the final
    retry_after_s: int | None = None
    cause: int | None = None  # Reason: Q.850
    contact: str | None = None  # Contact of a 3xx
    answers_despite_cancel: bool = False  # CANCEL crosses the answer: 200 to both
    forks: int = 0  # further 2xx, each with a tag of its own, as a forking proxy behind us would pass them
    then: tuple[tuple[float, str], ...] = ()  # (seconds after the ACK, method) from our side


ANSWER: Final = Behaviour()
SILENT: Final = Behaviour(trying_s=None, ring_s=None, final_s=None)
TRYING_ONLY: Final = Behaviour(ring_s=None, final_s=None)
RING_FOR_EVER: Final = Behaviour(final_s=None)


def refuse(status: int, *, after_s: float = 0.05, retry_after_s: int | None = None, cause: int | None = None) -> Behaviour:
    """A final other than 2xx, without ringing."""
    return Behaviour(ring_s=None, final_s=after_s, status=status, retry_after_s=retry_after_s, cause=cause)


class ModelSbc(Party):
    """UAS of RFC 3261 §13.3 with CANCEL (§9.2), OPTIONS (§11.2) and 2xx repeated until the ACK (§13.3.1.4).

    Args:
        behave: chooses the behaviour of each new INVITE; a Behaviour means always this one.
        dialogs: shared with its siblings where the pair shares call state.
    """

    role = "SBC"

    def __init__(
        self, name: str, address: Address, *, behave: Behaviour | Callable[[Message], Behaviour] = ANSWER,
        ledger: Ledger | None = None, dialogs: dict[Key, Dialog] | None = None, reliable: bool = False, sealed: bool = True,
        salt: str = "", fqdn: str = "",
    ) -> None:  # fmt: skip
        super().__init__(
            name, address, ledger=ledger, dialogs=dialogs, reliable=reliable, sealed=sealed, salt=salt, fqdn=fqdn
        )
        self.behave = behave
        self.deaf_to_options = False
        self.deaf_to_invites = False  # to new ones; what is up goes on
        self.options_status = 200
        self.options_retry_after_s: int | None = None
        self.invites = 0  # transactions, not packets
        self._despite: dict[str, bool] = {}  # branches of INVITEs that will be answered although cancelled

    def receive(self, data: bytes, source: Address, now_s: float) -> Output:
        if self.deaf_to_invites and data.startswith(b"INVITE ") and self._is_new(data):
            return []
        return super().receive(data, source, now_s)

    def hang_up(self, call_id: str, now_s: float) -> Output:
        """End an answered call from this side, now."""
        return self.say(call_id, "BYE", now_s)

    def say(self, call_id: str, method: str, now_s: float) -> Output:
        """Send one request inside the call."""
        for dialog in [d for d in self.dialogs.values() if d.call_id == call_id and not d.ended]:
            self.send_in_dialog(dialog, method, now_s)
        return self._drain()

    @property
    def legs_up(self) -> list[Dialog]:
        """Dialogs this SBC (or its siblings, where shared) holds."""
        return [dialog for dialog in self.dialogs.values() if not dialog.ended]

    def _is_new(self, data: bytes) -> bool:
        head = data.split(b"\r\n\r\n", 1)[0].decode("utf-8", "surrogateescape")
        lines = head.split("\r\n")
        to = next((line for line in lines if line.lower().startswith(("to:", "t:"))), "")
        if parameter(to, "tag"):
            return False
        via = next((line for line in lines if line.lower().startswith(("via:", "v:"))), "")
        return not any(branch == parameter(via.split(",")[0], "branch") for _, branch, _ in self._servers)

    # -- requests outside a dialog ---------------------------------------------------------------------------------------------

    def _on_outside(self, server: Server, now_s: float) -> None:
        request = server.request
        if request.method == "OPTIONS":
            self._on_options(server, now_s)
        elif request.method == "INVITE":
            self._serve(server)
            self._at(now_s + INVITE_KEPT_S, lambda _: self._drop_server(server.key))
            self._on_invite(server, now_s)
        else:
            super()._on_outside(server, now_s)

    def _on_options(self, server: Server, now_s: float) -> None:
        if self.deaf_to_options:
            return
        self._serve(server)
        self.ledger.options += 1
        extra = [("Allow", ALLOW), ("Accept", "application/sdp")]
        if self.options_retry_after_s is not None:
            extra.append(("Retry-After", str(self.options_retry_after_s)))
        self._reply(server, self.options_status, REASONS.get(self.options_status, "OK"), now_s, extra)

    def _on_invite(self, server: Server, now_s: float) -> None:
        request = server.request
        self.invites += 1
        if int(request.first("max-forwards")) >= 70:
            self.breach(now_s, f"INVITE of {request.call_id} with Max-Forwards {request.first('max-forwards')}: not decremented")
        if not request.every("record-route"):
            self.breach(now_s, f"INVITE of {request.call_id} without Record-Route")
        if not request.first("contact"):
            self.breach(now_s, f"INVITE of {request.call_id} without Contact")
        note = self.ledger.calls.get(request.call_id)
        if note is None:
            note = self.ledger.calls[request.call_id] = CallNote(request.call_id, request.user, now_s)
        note.invites += 1
        server.note = note
        behaviour = self.behave(request) if callable(self.behave) else self.behave
        if behaviour.answers_despite_cancel:
            self._despite[request.branch] = True
        if behaviour.trying_s is not None:
            self._at(now_s + behaviour.trying_s, lambda at_s: self._provisional(server, 100, "Trying", at_s))
        if behaviour.ring_s is not None:
            self._at(now_s + behaviour.ring_s, lambda at_s: self._provisional(server, 180, "Ringing", at_s))
        if behaviour.final_s is not None:
            self._at(now_s + behaviour.final_s, lambda at_s: self._decide(server, behaviour, at_s))

    def _provisional(self, server: Server, status: int, reason: str, now_s: float) -> None:
        if not server.final and not server.cancelled:
            self._reply(server, status, reason, now_s)

    def _decide(self, server: Server, behaviour: Behaviour, now_s: float) -> None:
        self._despite.pop(server.request.branch, None)
        if server.final or (server.cancelled and not behaviour.answers_despite_cancel):
            return
        assert server.note is not None
        server.note.replies.append(behaviour.status)
        if 200 <= behaviour.status < 300:
            for _ in range(behaviour.forks):
                self._fork(server, now_s)
            self._take(server, behaviour, now_s)
            return
        extra = []
        if behaviour.retry_after_s is not None:
            extra.append(("Retry-After", str(behaviour.retry_after_s)))
        if behaviour.cause is not None:
            extra.append(("Reason", f"Q.850;cause={behaviour.cause}"))
        if behaviour.contact is not None:
            extra.append(("Contact", f"<{behaviour.contact}>"))
        self._reply(server, behaviour.status, REASONS.get(behaviour.status, "No"), now_s, extra)

    def _take(self, server: Server, behaviour: Behaviour, now_s: float) -> Dialog:
        """Answer the INVITE: the dialog stands from here, RFC 3261 §12.1.1."""
        request, note = server.request, server.note
        assert note is not None
        server.tag = server.tag or self._new("t")
        local = f"{request.first('to')};tag={server.tag}"
        contact = request.first("contact")
        dialog = Dialog(
            request.call_id, local, request.first("from"), request.every("record-route"),
            uri_of(contact) if contact else request.uri, note,
        )  # fmt: skip
        dialog.remote_cseq = dialog.invite_cseq = request.cseq
        dialog.local_cseq = 1000
        self.dialogs[dialog.key] = dialog
        server.dialog = dialog
        if note.answered_s is None:
            note.answered_s = now_s
            note.answered_at = address_of(uri_of(contact)) if contact else None
        self._answer(server, now_s, local)
        for after_s, method in behaviour.then:
            self._at(now_s + after_s, lambda at_s, method=method: self._in_call(dialog, method, at_s))  # type: ignore[misc]
        return dialog

    def _fork(self, server: Server, now_s: float) -> None:
        """One more 2xx of the same INVITE with a tag of its own, repeated until acknowledged like any other."""
        twin = Server((self._new("fork"), server.request.branch, "INVITE"), server.request, server.to, now_s)
        twin.note = server.note
        self._serve(twin)
        self._take(twin, Behaviour(), now_s)

    def _in_call(self, dialog: Dialog, method: str, now_s: float) -> None:
        if not dialog.ended and dialog.note.acked_s is not None:
            self.send_in_dialog(dialog, method, now_s)

    # -- CANCEL ----------------------------------------------------------------------------------------------------------------

    def _on_cancel(self, server: Server, now_s: float) -> None:
        request = server.request
        invite = self._servers.get((request.sent_by, request.branch, "INVITE"))
        if invite is None:
            self.strays += 1  # it overtook its INVITE, or came after its end
            self._reply(server, 481, "Call/Transaction Does Not Exist", now_s)
            return
        self._check_cancel(request, invite.request, now_s)
        self._reply(server, 200, "OK", now_s)
        if invite.final or invite.cancelled:
            return
        assert invite.note is not None
        invite.cancelled = True
        invite.note.cancelled_s = now_s
        if self._despite.get(request.branch, False):
            return
        invite.note.replies.append(487)
        self._reply(invite, 487, REASONS[487], now_s)

    def _check_cancel(self, cancel: Message, invite: Message, now_s: float) -> None:
        ours, theirs = ((m.call_id, m.cseq, m.from_tag, m.uri) for m in (invite, cancel))
        if ours != theirs or cancel.to_tag:
            self.breach(now_s, f"CANCEL of {cancel.call_id} whose Call-ID, CSeq, tags or Request-URI are not those of its INVITE")
