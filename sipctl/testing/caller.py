"""A modelled carrier: places calls as its script says, hangs them up, and judges what it hears."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipctl.sip.timers import TIMER_B_S
from sipctl.testing.ledger import TIMED_OUT, CallNote, Ledger
from sipctl.testing.party import Client, Dialog, Party
from sipctl.testing.wire import Address, Message, Output, address_of, an_sdp, compose, host_port, uri_of


@dataclass(frozen=True, slots=True)
class Script:
    """What the caller does with one call; seconds."""

    cancel_after_s: float | None = None  # since the INVITE; sent once a provisional allows it (§9.1)
    then: tuple[tuple[float, str], ...] = ()  # (seconds after the answer, method) in order; BYE ends the call
    calling: str = "+4915111111111"
    patience_s: float = 240.0  # CANCEL after so long without a final
    headers: tuple[tuple[str, str], ...] = ()
    offer: bool = True  # SDP in the INVITE


@dataclass(slots=True)
class _Placed:
    client: Client
    script: Script
    note: CallNote
    wants_cancel: bool = False
    legs: dict[str, Dialog] = field(default_factory=dict)  # by remote tag


class Caller(Party):
    """UAC of RFC 3261 §13.2 with CANCEL (§9.1) and forked answers (§13.2.2.4)."""

    role = "caller"

    def __init__(
        self, name: str, address: Address, *, ledger: Ledger | None = None, reliable: bool = False, sealed: bool = True,
        salt: str = "",
    ) -> None:  # fmt: skip
        super().__init__(name, address, ledger=ledger, reliable=reliable, sealed=sealed, salt=salt)
        self._placed: dict[str, _Placed] = {}

    def place(
        self, called: str, to: Address, now_s: float, script: Script | None = None, *, via: Address | None = None
    ) -> tuple[CallNote, Output]:
        """Send one INVITE.

        Args:
            called: user part of the Request-URI.
            to: address in the Request-URI; where it is sent too, unless `via` says otherwise.
        """
        script = script or Script(then=((5.0, "BYE"),))
        call_id = f"{self._new('c')}@{self.address[0]}"
        body = an_sdp(call_id, self.address) if script.offer else b""
        headers = [
            ("Via", self._via(self._new("b"))),
            ("Max-Forwards", "70"),
            ("From", f'"Caller, Model" <sip:{script.calling}@{host_port(self.address)}>;tag={self._new("f")}'),
            ("To", f"<sip:{called}@{host_port(to)}>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", self.contact),
            ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"),
            *script.headers,
            *([("Content-Type", "application/sdp")] if body else []),
        ]
        client = self._send_request(compose(f"INVITE sip:{called}@{host_port(to)} SIP/2.0", headers, body), via or to, now_s)
        note = CallNote(call_id, called, now_s)
        self.ledger.calls[call_id] = note
        placed = _Placed(client, script, note)
        client.note = note
        client.on_final = lambda status, response, at_s: self._final(placed, status, response, at_s)
        self._placed[call_id] = placed
        if script.cancel_after_s is not None:
            self._at(now_s + script.cancel_after_s, lambda at_s: self._want_cancel(placed, at_s))
        self._at(now_s + script.patience_s, lambda at_s: self._want_cancel(placed, at_s))
        return note, self._drain()

    def hang_up(self, call_id: str, now_s: float) -> Output:
        """End an answered call by BYE, or a ringing one by CANCEL, now."""
        placed = self._placed.get(call_id)
        if placed is not None and not placed.note.is_over:
            if placed.note.is_up:
                self._in_call(placed, "BYE", now_s)
            else:
                self._want_cancel(placed, now_s)
        return self._drain()

    def say(self, call_id: str, method: str, now_s: float) -> Output:
        """Send one request inside the call."""
        placed = self._placed.get(call_id)
        if placed is not None and placed.note.is_up:
            self._in_call(placed, method, now_s)
        return self._drain()

    def forget(self, call_id: str) -> None:
        """Drop a call that is over from the ledger, for those who run for long."""
        if call_id in self._placed and self._placed[call_id].note.is_over:
            del self._placed[call_id]
            self.ledger.calls.pop(call_id, None)

    # -- what comes back -------------------------------------------------------------------------------------------------------

    def _on_provisional(self, client: Client, response: Message, now_s: float) -> None:
        placed = self._placed.get(response.call_id)
        if placed is None or placed.client is not client:
            return
        placed.note.provisionals.append(response.status)
        if placed.wants_cancel and client.final is None:
            self._cancel(placed, now_s)

    def _final(self, placed: _Placed, status: int, response: Message | None, now_s: float) -> None:
        note = placed.note
        note.final, note.final_s = status, now_s
        if response is None or status >= 300:
            note.ended_s = now_s
            note.ended_by = "timeout" if status == TIMED_OUT else "cancelled" if note.cancelled_s is not None else "refused"
            if response is not None:
                note.headers = {name: response.first(name) for name in ("retry-after", "reason") if response.first(name)}
            return
        dialog = self._leg(placed, response, now_s)
        placed.client.dialog = dialog
        note.answered_s, note.answered_at = now_s, _contact_address(response)
        if note.cancelled_s is not None or placed.wants_cancel:  # the answer crossed our CANCEL
            self.send_in_dialog(dialog, "BYE", now_s)
            note.ended_by = "cancelled"
            return
        for after_s, method in placed.script.then:
            self._at(now_s + after_s, lambda at_s, method=method: self._in_call(placed, method, at_s))  # type: ignore[misc]

    def _on_forked_success(self, client: Client, response: Message, now_s: float) -> None:
        placed = self._placed.get(response.call_id)
        if placed is None or placed.client is not client:
            super()._on_forked_success(client, response, now_s)
            return
        dialog = placed.legs.get(response.to_tag)
        if dialog is not None:
            self._out.append((dialog.ack, dialog.ack_to))
            return
        dialog = self._leg(placed, response, now_s)
        placed.note.extra_legs += 1
        self.send_in_dialog(dialog, "BYE", now_s)

    def _leg(self, placed: _Placed, response: Message, now_s: float) -> Dialog:
        """The dialog of one 2xx, acknowledged: §13.2.2.4."""
        request = placed.client.request
        route = list(reversed(response.every("record-route")))
        if not route:
            self.breach(now_s, f"2xx of {response.call_id} without Record-Route: later requests would pass the proxy by")
        dialog = Dialog(response.call_id, request.first("from"), response.first("to"), route, request.uri, placed.note)
        dialog.local_cseq = dialog.invite_cseq = request.cseq
        dialog.acked_by_end = True
        self.dialogs[dialog.key] = dialog
        placed.legs[response.to_tag] = dialog
        placed.note.tags.append(response.to_tag)
        self._ack_success(dialog, response, request.cseq, now_s)
        return dialog

    def _knows(self, request: Message) -> bool:
        """An SBC whose 2xx never reached us ends that call itself, so any dialog of a call of ours may exist."""
        return super()._knows(request) or request.call_id in self._placed

    # -- what the script wants -------------------------------------------------------------------------------------------------

    def _in_call(self, placed: _Placed, method: str, now_s: float) -> None:
        dialog = placed.client.dialog
        if dialog is not None and not dialog.ended:
            self.send_in_dialog(dialog, method, now_s)

    def _want_cancel(self, placed: _Placed, now_s: float) -> None:
        if placed.client.final is None and not placed.wants_cancel:
            placed.wants_cancel = True
            if placed.client.provisional:
                self._cancel(placed, now_s)

    def _cancel(self, placed: _Placed, now_s: float) -> None:
        if placed.note.cancelled_s is not None:
            return
        placed.note.cancelled_s = now_s
        request = placed.client.request
        headers = [
            ("Via", request.first("via")),
            ("Max-Forwards", "70"),
            ("From", request.first("from")),
            ("To", request.first("to")),
            ("Call-ID", request.call_id),
            ("CSeq", f"{request.cseq} CANCEL"),
        ]
        self._send_request(compose(f"CANCEL {request.uri} SIP/2.0", headers), placed.client.to, now_s)
        self._at(now_s + TIMER_B_S, lambda at_s: self._give_up(placed, at_s))

    def _give_up(self, placed: _Placed, now_s: float) -> None:
        """64·T1 after CANCEL without a final: the call counts as cancelled, §9.1."""
        if placed.client.final is None:
            placed.client.final = TIMED_OUT
            self._final(placed, TIMED_OUT, None, now_s)
            self._at(now_s + TIMER_B_S, lambda _: self._drop_client((placed.client.request.branch, "INVITE")))


def _contact_address(response: Message) -> Address | None:
    contact = response.first("contact")
    return address_of(uri_of(contact)) if contact else None
