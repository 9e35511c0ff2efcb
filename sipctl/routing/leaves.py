"""The INVITE of one attempt as it would leave, without one that came: for `sipctl route` and the plan's own tests.

It starts from the plainest INVITE the trunk could have sent for that call, and goes through the same edit as a real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipctl.routing.diverted import escaped
from sipctl.routing.rewrite import called_form, edit_of, edited, facts_of, head_of
from sipctl.routing.snapshot import Listen

if TYPE_CHECKING:
    from sipctl.routing.answers import Route
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.select import Target


class Leaves(NamedTuple):
    """One INVITE as it would leave."""

    uri: str  # the Request-URI
    set: tuple[str, ...]  # header lines that were added
    headers: tuple[str, ...]  # all of them, those added last; what carries the transaction left out

    def values(self, name: str) -> tuple[str, ...]:
        """Values of every header line of that name, any case."""
        wanted = name.lower()
        return tuple(
            value.strip() for found, _, value in (line.partition(":") for line in self.headers) if found.lower() == wanted
        )


def what_leaves(snapshot: RoutingSnapshot, route: Route, target: Target, caller: str | None) -> Leaves:
    """What one SBC of a route would be sent.

    Args:
        caller: the calling number; asserted, where the trunk is trusted for that. None: withheld.
    """
    trunk = snapshot.trunks[route.trunk]
    us = _address(snapshot.listens[trunk.listens[0]] if trunk.listens else snapshot.listens[target.listen])
    calling = caller or ""
    dialled = b"sip:" + escaped(route.called_number) + b"@" + us
    who = b"sip:" + (escaped(calling) + b"@" + us if calling else b"anonymous@anonymous.invalid")
    lines = [b"From: <" + who + b">", b"To: <" + dialled + b">"]
    if calling and "p-asserted-identity" in trunk.trust:
        lines.append(b"P-Asserted-Identity: <" + who + b">")
    rest = b"\r\n".join(lines) + b"\r\n\r\n"
    uri = uri_of(route, target)
    if target.leaving is None:
        return Leaves(uri, (), _texts(lines))
    edit = edit_of(rest, target.leaving, facts_of(snapshot, route, target, calling, dialled, uri.encode()))
    return Leaves(uri, _texts(edit.add.split(b"\r\n")[1:]), _texts(head_of(edited(rest, edit))))


def uri_of(route: Route, target: Target) -> str:
    """The Request-URI one SBC of a route would be sent."""
    called = route.called[target.side]
    if target.leaving is not None:
        called = called_form(target.leaving, called)
    user = escaped(target.called_prefix + called) + target.uri_params
    transport = "" if target.transport == "udp" else f";transport={target.transport}"
    return f"sip:{user.decode()}@{target.uri_host.decode()}{transport}"


def _address(listen: Listen) -> bytes:
    return (f"[{listen.advertise_host}]" if ":" in listen.advertise_host else listen.advertise_host).encode()


def _texts(lines: list[bytes]) -> tuple[str, ...]:
    return tuple(line.decode("utf-8", "replace") for line in lines)
