"""A stateless proxy of RFC 3261 §16.11 in fifty lines: the simplest correct thing between two modelled parties."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from sipctl.testing.wire import Address, Message, Output, address_of, host_port, parameter, read, uri_of


class StatelessProxy:
    """Sends every new request to one target and adds itself to Via and Record-Route; `tamper` may change what leaves."""

    def __init__(self, address: Address, target: Address, tamper: Callable[[bytes], bytes] | None = None) -> None:
        self.address = address
        self.target = target
        self.tamper = tamper
        self.next_due_s: float | None = None

    def tick(self, now_s: float) -> Output:
        return []

    def receive(self, data: bytes, source: Address, now_s: float) -> Output:
        message = read(data)
        out = self._forward(message, source) if message.method else self._back(message)
        return [(self.tamper(data), to) if self.tamper else (data, to) for data, to in out]

    def _forward(self, message: Message, source: Address) -> Output:
        headers = [(name, value) for name, value in message.headers if name != "content-length"]
        routes = message.every("route")
        if routes and address_of(uri_of(routes[0])) == self.address:
            headers.remove(("route", routes[0]))
            routes = routes[1:]
        first = headers.index(("via", message.first("via")))
        headers[first] = ("via", f"{message.first('via')};received={source[0]};rport={source[1]}".replace(";rport;", ";"))
        branch = zlib.crc32(f"{message.branch}{message.sent_by}".encode())
        headers.insert(0, ("via", f"SIP/2.0/UDP {host_port(self.address)};branch=z9hG4bKp{branch:x}"))
        headers = [(name, str(int(value) - 1) if name == "max-forwards" else value) for name, value in headers]
        uri, to = message.uri, self.target
        if message.to_tag:
            to = address_of(uri_of(routes[0]) if routes else uri)
        elif message.method in ("INVITE", "CANCEL"):
            uri = f"sip:{message.user}@{host_port(self.target)}"
        if message.method == "ACK" and message.to_tag and not message.every("route"):
            uri, to = f"sip:{message.user}@{host_port(self.target)}", self.target  # of a non-2xx: as its INVITE went
        if message.method == "INVITE" and not message.to_tag:
            headers.insert(1, ("record-route", f"<sip:{host_port(self.address)};lr>"))
        return [(_write(f"{message.method} {uri} SIP/2.0", headers, message.body), to)]

    def _back(self, message: Message) -> Output:
        _, via = message.every("via")[:2]
        headers = list(message.headers)
        headers.remove(("via", message.first("via")))
        headers = [(name, value) for name, value in headers if name != "content-length"]
        port = int(parameter(via, "rport") or address_of(f"sip:{via.split(';')[0].split()[-1]}")[1])
        host = parameter(via, "received") or address_of(f"sip:{via.split(';')[0].split()[-1]}")[0]
        return [(_write(message.start, headers, message.body), (host, port))]


def _write(start: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers), f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
