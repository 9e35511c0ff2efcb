"""What matches no transaction of ours: the second line of "a crash loses nothing" (CALLS 1.8).

A response is forwarded by its next Via only if the MAC in our branch, over that Via, verifies: so only to where the request
came from, and only if we sent it. A CANCEL or the ACK of a non-2xx goes to every target its INVITE may have had, under the
branch that INVITE would have had: the one that knows it acts, the others ignore it. Both depart from RFC 6026 §7.3
(docs/decisions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipctl.call import wire
from sipctl.call.admit import Refusal, choose_trunk, read_asked, request_uri
from sipctl.call.setup import cdr_id_of, target_code
from sipctl.routing.resolve import NoRoute, resolve
from sipctl.routing.rewrite import called_form
from sipctl.sip.message import CALL_ID, TO, Message

if TYPE_CHECKING:
    from sipctl.call.core import Core
    from sipctl.routing.join import Party

BRANCH_CHARS = 45  # cookie 7, "r", slot, key id 2, socket 2, target 8, MAC 24


MAX_FINALS: Final = 4096  # final responses remembered, so that a caller hears one


class Stateless:
    """Keeps nothing but which final response it passed on last for a request."""

    __slots__ = ("_core", "_finals")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._finals: dict[bytes, tuple[int, bytes]] = {}  # request → (status, To tag) of the final passed on first

    def response(self, branch: bytes, message: Message, data: bytes) -> None:
        """Forward a response without a transaction, or drop it."""
        core = self._core
        ours = len(branch) == BRANCH_CHARS and branch.startswith((wire.RELAYED, wire.SIBLING))
        below = wire.next_via(message) if ours else None
        if below is None or (branch.startswith(wire.SIBLING) and wire.is_doubtful(message.status)):
            core.count("responses_unmatched")
            return
        key, host, port = below
        method = message.cseq()[1]
        if method == b"CANCEL":
            core.count("responses_unmatched")
            return
        if method != b"INVITE":
            key = method + b" " + key
        if key in core.invites or key in core.others:
            core.count("responses_too_late")  # its transaction lives on without that branch and has been answered
            return
        if not core.is_our_branch(branch, key, method, (host, port)):
            core.count("responses_forged")
            return
        socket = _number(branch[11:13])
        if socket >= len(core.sockets) or not self._is_first_final(key, message):
            core.count("responses_unmatched")
            return
        cdr_id = cdr_id_of(message.value(CALL_ID), message.from_tag(), key)
        if method == b"INVITE" and message.status >= 300 and core.ledger.was_answered(cdr_id):
            self._acknowledge(branch, message)
            return
        if method == b"BYE" and message.status >= 200:
            self._end_call(message)
        core.count("responses_stateless")
        core.send(socket, data, (host, port))

    def _end_call(self, message: Message) -> None:
        """A BYE that a dead router passed on has been answered: its call is over."""
        ledger = self._core.ledger
        found = ledger.find(message.value(CALL_ID), message.from_tag(), message.to_tag())
        if found is not None:
            ledger.end(found[0], "caller" if found[1] else "callee")

    def _acknowledge(self, branch: bytes, refusal: Message) -> None:
        """Swallow the refusal of an attempt that was given up when another answered, as the dead router would have.

        The number its INVITE asked for is not known any more: the ACK is matched by its branch (RFC 3261 §17.2.3).
        """
        core = self._core
        core.count("responses_too_late")
        snapshot = core.snapshot
        assert snapshot is not None
        code = branch[13:21]
        for tenant in snapshot.targets:
            for target in (target for side in tenant for reach in side for target in reach):
                socket = core.socket_of_listen[target.listen]
                if socket >= 0 and target_code(target) == code:
                    via = core.via_start[socket] + branch
                    data = wire.ack(b"sip:" + target.uri_host, via, refusal, refusal.lines[refusal.at[TO]])
                    core.send(socket, data, (target.host, target.port))
                    return

    def _is_first_final(self, request: bytes, message: Message) -> bool:
        """Two targets of one request may answer after a crash; a refusal is passed on only if nothing else was."""
        status, tag = message.status, message.to_tag()
        if status < 200:
            return True
        passed = self._finals.get(request)
        if passed is not None:
            return passed == (status, tag) or (status < 300 and passed[0] < 300)
        if len(self._finals) >= MAX_FINALS:
            self._finals.pop(next(iter(self._finals)))
        self._finals[request] = (status, tag)
        return True

    def cancel_or_ack(self, message: Message, up: wire.Upstream, party: Party, socket: int) -> None:
        """Send a CANCEL, or the ACK of a non-2xx, after an INVITE nobody here remembers."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        if message.method == b"ACK" and message.to_tag() == core.own_tag(up.key):
            core.count("acks_of_our_answers")  # of a stateless answer of ours
            return
        trunk = choose_trunk(party.trunks, snapshot.trunks, core.listen_of(socket), message) if party.trunks else None
        asked = None if trunk is None else read_asked(message, snapshot.trunks[trunk])
        if trunk is None or asked is None or isinstance(asked, Refusal):
            core.count("cancels_unmatched")
            return
        unix_s = core.now_s + core.unix_minus_mono_s
        route = resolve(snapshot, core.live, trunk, asked.dialled, asked.phone_context, asked.share_key, core.now_s, True, unix_s)
        if isinstance(route, NoRoute):
            core.count("cancels_unmatched")
            return
        if message.method == b"CANCEL":
            core.send(socket, wire.reply(message, up.line, 200, to_tag=core.own_tag(up.key)), (up.host, up.port))
        for target in (*route.targets, *route.crossing):
            out = core.socket_of_listen[target.listen]
            if out < 0:
                continue
            called = route.called[target.side]
            if target.leaving is not None:
                called = called_form(target.leaving, called)
            uri = request_uri(asked, called, target.uri_host, target.uri_params, target.called_prefix, target.transport)
            via = wire.via_line(
                core.sockets[out], core.branch(up.key, b"INVITE", target_code(target), (up.host, up.port), socket)
            )
            if message.method == b"CANCEL":
                data = wire.cancel(uri, via, message)
            else:
                data = wire.ack(uri, via, message, message.lines[message.at[TO]])
            core.send(out, data, (target.host, target.port))
        core.count("cancels_stateless")


def _number(letters: bytes) -> int:
    return (letters[0] - 97) * 26 + (letters[1] - 97)
