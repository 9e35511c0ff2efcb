"""OPTIONS on the wire: sends what the judge wants to know, and hands it what comes back (CALLS 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipctl.call import wire
from sipctl.call.owner import own_call_id
from sipctl.errors import SipSyntaxError
from sipctl.sip.headers import parse_retry_after
from sipctl.sip.message import RETRY_AFTER, Message

if TYPE_CHECKING:
    from sipctl.call.core import Core


class Probes:
    """One outstanding OPTIONS per SBC at most, so this table is as long as the plan."""

    __slots__ = ("_branch_of", "_core", "_pending", "_serial")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pending: dict[bytes, int] = {}  # branch → SBC id
        self._branch_of: dict[int, bytes] = {}
        self._serial = 0

    def send_due(self) -> None:
        """Send every OPTIONS that is due."""
        core = self._core
        for sbc_id in core.judge.due(core.now_s):
            self._send(sbc_id)

    def on_response(self, branch: bytes, message: Message) -> bool:
        """Whether that response was for a probe of ours; a final one is judged."""
        sbc_id = self._pending.get(branch)
        if sbc_id is None:
            return False
        if message.status >= 200:
            del self._pending[branch]
            retry_after_s: float | None = None
            if RETRY_AFTER in message.at:
                try:
                    retry_after_s = float(parse_retry_after(message.value(RETRY_AFTER)).delay_s)
                except SipSyntaxError:
                    retry_after_s = None
            self._core.judge.on_reply(sbc_id, message.status, retry_after_s, self._core.now_s)
        return True

    def on_unreachable(self, address: tuple[str, int]) -> None:
        """ICMP or a refused connection: the probes to that address have failed."""
        core = self._core
        for sbc_id in tuple(self._branch_of):
            found = core.probed(sbc_id)
            if found is not None and (found[0].host, found[0].port) == address:
                branch = self._branch_of[sbc_id]
                if self._pending.pop(branch, None) is not None:
                    core.judge.on_transport_error(sbc_id, core.now_s)

    def on_swap(self) -> None:
        """Forget probes of SBCs that are gone."""
        for sbc_id in tuple(self._branch_of):
            if self._core.probed(sbc_id) is None:
                self._pending.pop(self._branch_of.pop(sbc_id), None)

    @property
    def pending(self) -> int:
        return len(self._pending)

    def _send(self, sbc_id: int) -> None:
        core = self._core
        found = core.probed(sbc_id)
        if found is None:
            return
        sbc, socket = found
        if socket < 0:
            core.judge.on_local_error(sbc_id, core.now_s)
            return
        self._pending.pop(self._branch_of.get(sbc_id, b""), None)
        self._serial += 1
        listen = core.sockets[socket]
        serial = b"%d" % self._serial
        # With its instant: a successor counts anew, and an SBC must not take its OPTIONS for one of the predecessor's come late.
        mark = core.own_tag(b"probe|%d|%d|%d|" % (core.slot, sbc_id, int(core.now_s * 1e6)) + serial)
        branch = wire.COOKIE + b"p" + mark
        host = f"[{sbc.host}]" if ":" in sbc.host else sbc.host
        transport = b"" if sbc.transport == "udp" else b";transport=" + sbc.transport.encode()
        uri = b"sip:%b:%d%b" % (host.encode(), sbc.port, transport)
        call_id = own_call_id(mark, wire.address_text(listen).partition(b";")[0].partition(b":")[0], core.slots, core.slot)
        data = wire.options(uri, wire.via_line(listen, branch), listen, call_id, mark[:12], self._serial)
        self._pending[branch] = sbc_id
        self._branch_of[sbc_id] = branch
        core.judge.sent(sbc_id, core.now_s)
        core.send(socket, data, (sbc.host, sbc.port))
        core.count("probes")
