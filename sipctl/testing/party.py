"""What a modelled caller and a modelled SBC have in common: timers, transactions, dialogs, as RFC 3261 says; no I/O, no clock.

`receive`, `tick` and every action return what to send: a list of (bytes, address). A party is a strict judge: whatever a correct
neighbour never does, however the network treats its packets, goes into the ledger as a breach. What loss, duplication or
reordering can explain does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from sipctl.sip.timers import T1_S, T2_S, TIMER_B_S
from sipctl.testing.ledger import TIMED_OUT, CallNote, Ledger
from sipctl.testing.wire import (
    MAGIC_COOKIE,
    SEAL_HEADER,
    Address,
    Message,
    Output,
    WireError,
    address_of,
    an_sdp,
    compose,
    host_port,
    is_intact,
    parameter,
    read,
    seal,
    uri_of,
)

MAX_FINISHED = 20_000  # transactions and dialogs remembered after their end, to tell a late duplicate from an invention
ALLOW: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"
Key = tuple[str, str, str]  # sent-by, branch, method (an ACK's is INVITE)


class Client:
    """One request sent and what came back: RFC 3261 §17.1 with RFC 6026."""

    __slots__ = (
        "dialog", "final", "final_s", "final_tag", "interval_s", "method", "note", "on_final", "provisional", "request", "sent_s",
        "to",
    )  # fmt: skip

    def __init__(self, method: str, request: Message, to: Address, now_s: float) -> None:
        self.method = method
        self.request = request
        self.to = to
        self.sent_s = now_s
        self.interval_s = T1_S
        self.provisional = False
        self.final: int | None = None
        self.final_s = 0.0
        self.final_tag = ""
        self.note: CallNote | None = None
        self.dialog: Dialog | None = None
        self.on_final: Callable[[int, Message | None, float], None] | None = None


class Server:
    """One request received and what was answered: RFC 3261 §17.2 with RFC 6026."""

    __slots__ = ("acked", "cancelled", "dialog", "final", "interval_s", "key", "last", "note", "request", "since_s", "tag", "to")

    def __init__(self, key: Key, request: Message, to: Address, now_s: float) -> None:
        self.key = key
        self.request = request
        self.to = to
        self.since_s = now_s
        self.last = b""  # last response sent
        self.final = 0
        self.interval_s = T1_S
        self.acked = False
        self.cancelled = False
        self.tag = ""
        self.dialog: Dialog | None = None
        self.note: CallNote | None = None


class Dialog:
    """One end's view of a dialog: RFC 3261 §12."""

    __slots__ = (
        "ack", "ack_to", "acked_by_end", "answering", "call_id", "ended", "invite_cseq", "local", "local_cseq", "local_tag",
        "note", "remote", "remote_cseq", "remote_tag", "route", "target",
    )  # fmt: skip

    def __init__(self, call_id: str, local: str, remote: str, route: list[str], target: str, note: CallNote) -> None:
        self.call_id = call_id
        self.local = local  # whole From/To value of this end, with its tag
        self.remote = remote
        self.local_tag = parameter(local, "tag")
        self.remote_tag = parameter(remote, "tag")
        self.route = route
        self.target = target  # URI
        self.local_cseq = 0
        self.remote_cseq: int | None = None
        self.invite_cseq = 0
        self.ack = b""  # kept for repeated 2xx
        self.ack_to: Address = ("", 0)
        self.note = note
        self.ended = False
        self.answering: Server | None = None  # the last INVITE answered here
        self.acked_by_end = False  # the other end, not something between, has acknowledged

    @property
    def key(self) -> Key:
        return (self.call_id, self.local_tag, self.remote_tag)

    @property
    def next_hop(self) -> Address:
        return address_of(uri_of(self.route[0])) if self.route else address_of(self.target)


class Party:
    """One address that speaks SIP. Subclasses say what it does with requests outside a dialog and with final responses.

    Args:
        reliable: it stands on a stream: no request is retransmitted.
        dialogs: shared with its siblings where a pair shares call state.
        sealed: its neighbours are modelled parties too, so in-dialog requests must carry their seal.
        salt: makes tags and branches of several runs differ.
        fqdn: stands in its Contact in place of the address.
    """

    role = "party"

    def __init__(
        self, name: str, address: Address, *, ledger: Ledger | None = None, dialogs: dict[Key, Dialog] | None = None,
        reliable: bool = False, sealed: bool = True, salt: str = "", fqdn: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self.fqdn = fqdn
        self.address = address
        self.ledger = Ledger() if ledger is None else ledger
        self.dialogs: dict[Key, Dialog] = {} if dialogs is None else dialogs
        self.reliable = reliable
        self.sealed = sealed
        self.mute = False  # stopped: takes nothing, sends nothing, sockets open
        self.retransmissions = 0
        self.strays = 0  # ACKs and CANCELs that matched nothing here
        self._salt = salt
        self._count = 0
        self._clients: dict[tuple[str, str], Client] = {}  # by branch and method
        self._servers: dict[Key, Server] = {}
        self._branch_of: OrderedDict[tuple[str, str, int, str], str] = OrderedDict()
        self._finished: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self.names_transport = True  # in Contact, where it is not UDP; many do not
        self._out: Output = []

    # -- the three verbs -------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address, now_s: float) -> Output:
        """Take one whole message and return what to send."""
        if self.mute:
            return []
        if not data.strip(b"\r\n"):
            return []
        try:
            message = read(data)
        except WireError as error:
            self.breach(now_s, f"unreadable message from {host_port(source)}: {error}")
            return []
        if not is_intact(message.body):
            self.breach(now_s, f"{message.what} of {message.call_id}: the body changed on its way")
        if message.method:
            self._on_request(message, source, now_s)
        else:
            self._on_response(message, now_s)
        return self._drain()

    @property
    def next_due_s(self) -> float | None:
        """When `tick` is next wanted, or None."""
        return self._timers[0][0] if self._timers else None

    def tick(self, now_s: float) -> Output:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= now_s:
            _, _, act = heappop(self._timers)
            act(now_s)
        return self._drain()

    def breach(self, now_s: float, text: str) -> None:
        self.ledger.breach(now_s, self.name, text)

    @property
    def contact(self) -> str:
        """Contact header of this party."""
        place = f"{self.fqdn}:{self.address[1]}" if self.fqdn else host_port(self.address)
        return f"<sip:{self.name}@{place}{';transport=tcp' if self.reliable and self.names_transport else ''}>"

    @property
    def open_transactions(self) -> int:
        return len(self._clients) + len(self._servers)

    # -- requests this party makes inside a dialog -----------------------------------------------------------------------------

    def send_in_dialog(self, dialog: Dialog, method: str, now_s: float) -> None:
        """Send BYE, INFO, OPTIONS, UPDATE or a re-INVITE; the answer goes into the call's note."""
        if dialog.ended and method != "BYE":
            return
        dialog.local_cseq += 1
        cseq = dialog.local_cseq
        extra = [(SEAL_HEADER, seal(method, dialog.call_id, cseq, dialog.local_tag))]
        body = b""
        if method in ("INVITE", "UPDATE"):
            extra += [("Contact", self.contact), ("Content-Type", "application/sdp")]
            body = an_sdp(f"{dialog.call_id}{cseq}", self.address)
        data = self._in_dialog_bytes(dialog, method, cseq, extra, body)
        client = self._send_request(data, dialog.next_hop, now_s)
        client.dialog, client.note = dialog, dialog.note
        if method == "BYE":
            self._end(dialog, "me", now_s)
        client.on_final = lambda status, response, at_s: self._in_dialog_final(dialog, client, status, response, at_s)

    def _in_dialog_bytes(self, dialog: Dialog, method: str, cseq: int, extra: list[tuple[str, str]], body: bytes = b"") -> bytes:
        headers = [
            ("Via", self._via(self._new("b"))),
            *(("Route", hop) for hop in dialog.route),
            ("Max-Forwards", "70"),
            ("From", dialog.local),
            ("To", dialog.remote),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{cseq} {method}"),
            *extra,
        ]
        return compose(f"{method} {dialog.target} SIP/2.0", headers, body)

    def _in_dialog_final(self, dialog: Dialog, client: Client, status: int, response: Message | None, now_s: float) -> None:
        note, method = dialog.note, client.method
        note.in_dialog.append((method, status))
        if method == "INVITE" and response is not None and 200 <= status < 300:
            self._ack_success(dialog, response, client.request.cseq, now_s)
        elif method == "BYE" and status not in (200, 481):
            note.ended_by = "bye-failed"
        elif status in (TIMED_OUT, 408, 481) and not dialog.ended and method != "BYE":  # §12.2.1.2: the call is over
            self.send_in_dialog(dialog, "BYE", now_s)
            note.ended_by = "timeout"

    def _ack_success(self, dialog: Dialog, response: Message, cseq: int, now_s: float) -> None:
        contact = response.first("contact")
        if contact:
            dialog.target = uri_of(contact)
        else:
            self.breach(now_s, f"2xx of {dialog.call_id} without Contact")
        mark = (SEAL_HEADER, seal("ACK", dialog.call_id, cseq, dialog.local_tag))
        dialog.ack = self._in_dialog_bytes(dialog, "ACK", cseq, [mark])
        dialog.ack_to = dialog.next_hop
        self._out.append((dialog.ack, dialog.ack_to))

    def _end(self, dialog: Dialog, by: str, now_s: float) -> None:
        dialog.ended = True
        note = dialog.note
        if note.is_up and not self._has_other_leg(dialog):
            note.ended_s, note.ended_by = now_s, by
        self._at(now_s + 4 * TIMER_B_S, lambda _: self._forget_dialog(dialog))

    def _has_other_leg(self, dialog: Dialog) -> bool:
        """If the call goes on in another dialog: the caller ends a second answered leg, not the call."""
        return any(d.note is dialog.note and not d.ended for d in self.dialogs.values() if d is not dialog)

    def _forget_dialog(self, dialog: Dialog) -> None:
        if self.dialogs.pop(dialog.key, None) is not None:
            self._remember((*dialog.key, "dialog"))

    # -- client transactions ---------------------------------------------------------------------------------------------------

    def _send_request(self, data: bytes, to: Address, now_s: float) -> Client:
        request = read(data)
        client = Client(request.method, request, to, now_s)
        key = (request.branch, request.method)
        self._clients[key] = client
        self._out.append((data, to))
        if not self.reliable:
            self._at(now_s + client.interval_s, lambda at_s: self._resend(key, data, at_s))
        self._at(now_s + TIMER_B_S, lambda at_s: self._request_timed_out(key, at_s))
        return client

    def _resend(self, key: tuple[str, str], data: bytes, now_s: float) -> None:
        client = self._clients.get(key)
        if client is None or client.final is not None or (client.method == "INVITE" and client.provisional):
            return
        self.retransmissions += 1
        self._out.append((data, client.to))
        client.interval_s = 2 * client.interval_s
        if client.method != "INVITE":
            client.interval_s = T2_S if client.provisional else min(client.interval_s, T2_S)
        self._at(now_s + client.interval_s, lambda at_s: self._resend(key, data, at_s))

    def _request_timed_out(self, key: tuple[str, str], now_s: float) -> None:
        client = self._clients.get(key)
        if client is None or client.final is not None or (client.method == "INVITE" and client.provisional):
            return
        self._finish_client(key, client, TIMED_OUT, None, now_s)
        self._drop_client(key)

    def _finish_client(self, key: tuple[str, str], client: Client, status: int, response: Message | None, now_s: float) -> None:
        client.final, client.final_s = status, now_s
        client.final_tag = response.to_tag if response is not None else ""
        self._at(now_s + 2 * TIMER_B_S, lambda _: self._drop_client(key))  # D, K, M and some more, to recognise what comes late
        if client.on_final is not None:
            client.on_final(status, response, now_s)

    def _drop_client(self, key: tuple[str, str]) -> None:
        if self._clients.pop(key, None) is not None:
            self._remember((*key, "client"))

    def _on_response(self, response: Message, now_s: float) -> None:
        key = (response.branch, response.cseq_method)
        client = self._clients.get(key)
        if response.sent_by != host_port(self.address) or len(response.every("via")) != 1:
            self.breach(now_s, f"{response.what} of {response.call_id} with Vias that are not mine alone")
            return
        if client is None:
            if (*key, "client") not in self._finished:
                self.breach(now_s, f"{response.what} of {response.call_id} answers nothing I sent")
            return
        request = client.request
        same = (request.call_id, request.cseq, request.from_tag) == (response.call_id, response.cseq, response.from_tag)
        if not same or (request.to_tag and response.to_tag != request.to_tag):
            self.breach(now_s, f"{response.what} of {response.call_id}: Call-ID, CSeq or tags differ from those of the request")
            return
        if response.status > 100 and not response.to_tag:
            self.breach(now_s, f"{response.what} of {response.call_id} without To tag")
        if response.status < 200:
            client.provisional = True
            self._on_provisional(client, response, now_s)
        elif client.final is None:
            if client.method == "INVITE" and response.status >= 300:
                self._ack_failure(client, response)
            self._finish_client(key, client, response.status, response, now_s)
        else:
            self._on_repeated_final(client, response, now_s)

    def _on_provisional(self, client: Client, response: Message, now_s: float) -> None:
        """A 1xx came; the caller's business."""

    def _on_repeated_final(self, client: Client, response: Message, now_s: float) -> None:
        if client.method != "INVITE":
            if response.status != client.final and client.final != TIMED_OUT:
                self.breach(now_s, f"two finals for {client.method} of {response.call_id}: {client.final}, {response.status}")
            return
        answered = client.final is not None and 200 <= client.final < 300
        if response.status >= 300 and answered and client.request.to_tag and now_s - client.final_s >= TIMER_B_S:
            return  # its transaction is over (Timer M, RFC 6026): what a re-INVITE's repetition was answered is nobody's
        if response.status >= 300:
            self._ack_failure(client, response)
            # After a caller has given up by itself (§9.1: 64·T1 after its CANCEL) a refusal is late, not a second final.
            if client.final != TIMED_OUT and (response.status, response.to_tag) != (client.final, client.final_tag):
                self.breach(now_s, f"two finals for INVITE of {response.call_id}: {client.final}, {response.status}")
        elif client.final is not None and client.final >= 300:
            self.breach(now_s, f"{response.status} for INVITE of {response.call_id} after {client.final}")
        elif client.dialog is not None and client.dialog.remote_tag == response.to_tag:
            self._out.append((client.dialog.ack, client.dialog.ack_to))
        else:
            self._on_forked_success(client, response, now_s)

    def _on_forked_success(self, client: Client, response: Message, now_s: float) -> None:
        self.breach(now_s, f"second 2xx of {response.call_id} from another tag inside a dialog")

    def _ack_failure(self, client: Client, response: Message) -> None:
        """ACK of a non-2xx: same branch, Request-URI and Route as the INVITE, §17.1.1.3."""
        request = client.request
        headers = [
            ("Via", request.first("via")),
            *(("Route", hop) for hop in request.every("route")),
            ("Max-Forwards", "70"),
            ("From", request.first("from")),
            ("To", response.first("to")),
            ("Call-ID", request.call_id),
            ("CSeq", f"{request.cseq} ACK"),
        ]
        self._out.append((compose(f"ACK {request.uri} SIP/2.0", headers), client.to))

    # -- server transactions ---------------------------------------------------------------------------------------------------

    def _on_request(self, request: Message, source: Address, now_s: float) -> None:
        if request.method == "ACK":
            self._on_ack(request, now_s)
            return
        key = (request.sent_by, request.branch, request.method)
        server = self._servers.get(key)
        if server is not None:
            self._on_repeated_request(server, request, now_s)
            return
        if (*key, "server") in self._finished:
            return
        if request.method != "CANCEL":  # one that matches nothing is answered 481 and counted
            self._check_branch(request, now_s)
        server = Server(key, request, self._reply_address(request, source), now_s)
        if request.method == "CANCEL":
            self._serve(server)
            self._on_cancel(server, now_s)
        elif request.to_tag:
            self._serve(server)
            self._on_in_dialog(server, now_s)
        else:
            self._on_outside(server, now_s)

    def _serve(self, server: Server) -> None:
        self._servers[server.key] = server
        if server.request.method != "INVITE":
            self._at(server.since_s + 2 * TIMER_B_S, lambda _: self._drop_server(server.key))

    def _drop_server(self, key: Key) -> None:
        if self._servers.pop(key, None) is not None:
            self._remember((*key, "server"))

    def _on_repeated_request(self, server: Server, request: Message, now_s: float) -> None:
        if (request.call_id, request.cseq) != (server.request.call_id, server.request.cseq):
            self.breach(now_s, f"{request.what} of {request.call_id} under the branch of {server.request.call_id}")
        elif server.last and not (server.request.method == "INVITE" and 200 <= server.final < 300):
            self._out.append((server.last, server.to))

    def _check_branch(self, request: Message, now_s: float) -> None:
        """One request must stay one transaction, also when a successor of a dead proxy sends it again."""
        key = (request.call_id, f"{request.from_tag} {request.to_tag}", request.cseq, request.method)
        branch = self._branch_of.setdefault(key, request.branch)
        if branch != request.branch:
            self.breach(now_s, f"{request.what} {request.cseq} of {request.call_id} came again under another branch")
        if len(self._branch_of) > MAX_FINISHED:
            self._branch_of.popitem(last=False)

    def _on_outside(self, server: Server, now_s: float) -> None:
        self.breach(now_s, f"{server.request.what} of {server.request.call_id} outside a dialog, to a {self.role}")
        self._serve(server)
        self._reply(server, 405, "Method Not Allowed", now_s, [("Allow", ALLOW)])

    def _on_in_dialog(self, server: Server, now_s: float) -> None:
        request = server.request
        dialog = self.dialogs.get((request.call_id, request.to_tag, request.from_tag))
        if dialog is None:
            if not self._knows(request):
                self.breach(now_s, f"{request.what} of {request.call_id} for a dialog I never had")
            self._reply(server, 481, "Call/Transaction Does Not Exist", now_s)
            return
        orphan = request.method == "BYE" and not dialog.acked_by_end  # a proxy may end what no end ever took up
        if self.sealed and not orphan and not _is_sealed(request):
            self.breach(now_s, f"{request.what} in {request.call_id} that its other end did not make")
        server.dialog, server.note = dialog, dialog.note
        if dialog.remote_cseq is not None and request.cseq <= dialog.remote_cseq:
            self._reply(server, 500, "Server Internal Error", now_s, [("Retry-After", "1")])  # overtaken, §12.2.2
            return
        dialog.remote_cseq = request.cseq
        dialog.note.heard.append(request.method)
        if dialog.ended:
            status, text = (200, "OK") if request.method == "BYE" else (481, "Call/Transaction Does Not Exist")
            self._reply(server, status, text, now_s)
        elif request.method == "BYE":
            self._end(dialog, "peer", now_s)
            self._reply(server, 200, "OK", now_s)
        elif request.method == "INVITE":
            if request.first("contact"):
                dialog.target = uri_of(request.first("contact"))
            dialog.invite_cseq = request.cseq
            self._answer(server, now_s, dialog.local)
        else:
            self._reply(server, 200, "OK", now_s)

    def _knows(self, request: Message) -> bool:
        """If loss can explain that this end has no such dialog (any more)."""
        return (request.call_id, request.to_tag, request.from_tag, "dialog") in self._finished

    def _on_cancel(self, server: Server, now_s: float) -> None:
        self.breach(now_s, f"CANCEL of {server.request.call_id}, to a {self.role}")
        self._reply(server, 481, "Call/Transaction Does Not Exist", now_s)

    def _on_ack(self, ack: Message, now_s: float) -> None:
        failed = self._servers.get((ack.sent_by, ack.branch, "INVITE"))
        if failed is not None:
            if failed.final >= 300:
                failed.acked = True
            else:
                self.strays += 1  # a successor sends an ACK it knows nothing of to every target its INVITE may have had
            return
        dialog = self.dialogs.get((ack.call_id, ack.to_tag, ack.from_tag))
        if dialog is None:
            self.strays += 1  # late, or an ACK of a non-2xx whose INVITE never came here
            return
        dialog.acked_by_end = dialog.acked_by_end or _is_sealed(ack)
        server = dialog.answering
        if server is not None and server.request.cseq == ack.cseq:
            server.acked = True
            if dialog.note.acked_s is None:
                dialog.note.acked_s = now_s
        if ack.cseq > dialog.invite_cseq:
            self.breach(now_s, f"ACK of {ack.call_id} with CSeq {ack.cseq}, the INVITE had {dialog.invite_cseq}")

    def _reply(self, server: Server, status: int, reason: str, now_s: float, extra: list[tuple[str, str]] | None = None) -> None:
        """Send a response; a final to an INVITE is repeated until its ACK comes."""
        request = server.request
        to = request.first("to")
        if not parameter(to, "tag") and status > 100:
            server.tag = server.tag or self._new("t")
            to = f"{to};tag={server.tag}"
        headers = [("Via", via) for via in self._reply_vias(request, server.to)]
        if 100 < status < 300:
            headers += [("Record-Route", route) for route in request.every("record-route")]
        headers += [("From", request.first("from")), ("To", to), ("Call-ID", request.call_id), ("CSeq", request.first("cseq"))]
        body = b""
        if request.method in ("INVITE", "UPDATE") and 200 <= status < 300:
            headers += [("Contact", self.contact), ("Content-Type", "application/sdp")]
            body = an_sdp(f"{request.call_id}{self.name}", self.address)
        elif status > 100 and request.method == "INVITE" and status < 200:
            headers.append(("Contact", self.contact))
        server.last = compose(f"SIP/2.0 {status} {reason}", headers + (extra or []), body)
        self._out.append((server.last, server.to))
        if status >= 200:
            server.final = status
            if request.method == "INVITE":
                self._at(now_s + server.interval_s, lambda at_s: self._repeat_final(server, at_s))
                self._at(now_s + TIMER_B_S, lambda at_s: self._no_ack(server, at_s))

    def _answer(self, server: Server, now_s: float, local: str) -> None:
        """200 to an INVITE, first or later."""
        assert server.dialog is not None
        server.tag = parameter(local, "tag")
        server.dialog.answering = server
        self._reply(server, 200, "OK", now_s)

    def _repeat_final(self, server: Server, now_s: float) -> None:
        if server.acked or self._servers.get(server.key) is not server:
            return
        if self.reliable and server.final >= 300:
            return
        self.retransmissions += 1
        self._out.append((server.last, server.to))
        server.interval_s = min(2 * server.interval_s, T2_S)
        self._at(now_s + server.interval_s, lambda at_s: self._repeat_final(server, at_s))

    def _no_ack(self, server: Server, now_s: float) -> None:
        """64·T1 after a final to an INVITE: forget it; an answer that was never acknowledged ends in BYE, §13.3.1.4."""
        self._at(now_s + TIMER_B_S, lambda _: self._drop_server(server.key))
        dialog = server.dialog
        if not server.acked and 200 <= server.final < 300 and dialog is not None and not dialog.ended:
            self.send_in_dialog(dialog, "BYE", now_s)
            dialog.note.ended_by = "no-ack"

    # -- small things ----------------------------------------------------------------------------------------------------------

    def _reply_address(self, request: Message, source: Address) -> Address:
        """Where the response goes: RFC 3261 §18.2.2, RFC 3581."""
        via = request.first("via")
        if self.reliable or "rport" in [part.strip().partition("=")[0].lower() for part in via.split(";")[1:]]:
            return source
        return source[0], address_of(f"sip:{request.sent_by}")[1]

    def _reply_vias(self, request: Message, to: Address) -> list[str]:
        first, *rest = request.every("via")
        parts = [f"rport={to[1]}" if part.strip().lower() == "rport" else part for part in first.split(";")]
        if address_of(f"sip:{request.sent_by}")[0] != to[0] or any(part.startswith("rport=") for part in parts):
            parts.append(f"received={to[0]}")
        return [";".join(parts), *rest]

    def _via(self, branch: str) -> str:
        via = f"{host_port(self.address)};branch={MAGIC_COOKIE}{branch}"
        return f"SIP/2.0/TCP {via}" if self.reliable else f"SIP/2.0/UDP {via};rport"

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}{self.name}{self._salt}".replace("_", "-")

    def _at(self, at_s: float, act: Callable[[float], None]) -> None:
        self._count += 1
        heappush(self._timers, (at_s, self._count, act))

    def _remember(self, key: tuple[str, ...]) -> None:
        self._finished[key] = None
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)

    def _drain(self) -> Output:
        out, self._out = self._out, []
        return [] if self.mute else out


def _is_sealed(request: Message) -> bool:
    return request.first(SEAL_HEADER.lower()) == seal(request.method, request.call_id, request.cseq, request.from_tag)
