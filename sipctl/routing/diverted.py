"""Who a call was for before it was sent on, as headers say it: Diversion, or History-Info.

Both tell the same ways with the same causes, so whoever maps one to the other (RFC 7544) finds what we would have written. A
step that did not change the number makes no entry of its own: it counts. The number dialled is told under our own address.

Sources: RFC 5806 (Diversion), RFC 7044 (History-Info), RFC 4458 (the cause parameter), RFC 7544 (mapping).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sipctl.routing.answers import Route

MAX_NUMBER_CHARS: Final = 128  # of a number or word told; the rest is cut
MAX_INDEX_BYTES: Final = 64  # of an index of History-Info received; behind a longer one nothing is added

# Why a call was sent on → (reason of RFC 5806, cause of RFC 4458 that RFC 7544 maps it to)
_UNCONDITIONAL: Final = ("unconditional", 302)
_REASONS: Final = {
    "switch": _UNCONDITIONAL, "overlay": _UNCONDITIONAL, "closed": ("time-of-day", 404), "overflow": ("user-busy", 486),
    "unusable": ("unavailable", 503),
}  # fmt: skip

_UNRESERVED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,/")
_INDEX: Final = re.compile(rb";[ \t\r\n]*index[ \t\r\n]*=[ \t\r\n]*([0-9]+(?:\.[0-9]+)*)", re.IGNORECASE)
_IN_BRACKETS: Final = re.compile(rb"<([^<>]*)>")
_UNFIT_URI: Final = re.compile(rb'[<>"?\s]')


class Way(NamedTuple):
    """A number the call left."""

    number: str
    reason: str  # RFC 5806
    cause: int  # RFC 4458
    times: int


def ways_of(route: Route, called: str) -> tuple[Way, ...]:
    """What a call left that is to be dialled as `called`, last first; () if it goes where it was dialled to, as dialled."""
    ways: list[Way] = []
    for step in route.retargets:
        if ways and ways[-1].number == step.called:  # the number did not change: one diversion, counted (RFC 5806 §9.3)
            ways[-1] = ways[-1]._replace(times=ways[-1].times + 1)
        else:
            reason, cause = _REASONS[step.reason]
            ways.append(Way(step.called, reason, cause, 1))
    if not ways and called != route.called_number:
        ways.append(Way(route.called_number, _UNCONDITIONAL[0], _UNCONDITIONAL[1], 1))
    ways.reverse()
    return tuple(ways)


def escaped(user: str) -> bytes:
    """A number or word as the user part of a URI carries it (RFC 3261 §25.1)."""
    octets = user.encode()
    if _UNRESERVED.issuperset(octets):
        return octets
    return b"".join(bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet for octet in octets)


def own_uri(number: str, host: bytes) -> bytes:
    """A number under our own address."""
    phone = b";user=phone" if number[:1] == "+" else b""
    return b"sip:" + escaped(number[:MAX_NUMBER_CHARS]) + b"@" + host + phone


def diversion_line(way: Way, host: bytes) -> bytes:
    """One Diversion; the latest stands first in a message."""
    return b"Diversion: <%b>;reason=%b;counter=%d;privacy=off" % (own_uri(way.number, host), way.reason.encode(), way.times)


def history_lines(way: Way, host: bytes, uri: bytes, sent: bytes, stays: bool, received: list[bytes]) -> list[bytes]:
    """The entry of the number that was dialled, unless it is there, and that of where the call goes now (RFC 7044 §9, §10.3).

    Args:
        way: the first one; uri: the Request-URI as it came; sent: as it leaves; stays: the number dialled is dialled on.
        received: History-Info lines of the INVITE.
    Returns: none behind an index that is too long to be gone on with, or if the URI sent holds what no entry can.
    """
    came = uri if uri and not _UNFIT_URI.search(uri) else own_uri(way.number, host)
    if _UNFIT_URI.search(sent):
        return []
    entries: list[bytes] = []
    indexes = _INDEX.findall(received[-1]) if received else []
    if not indexes:
        parent = b"1"
        entries.append(b"History-Info: <%b>;index=1" % came)
    else:
        parent = indexes[-1]
        uris = _IN_BRACKETS.findall(received[-1])
        if len(parent) > MAX_INDEX_BYTES:
            return []
        if not uris or _address(uris[-1]) != _address(came):  # who sent it here told nothing of it: a gap
            parent += b".0.1"
            entries.append(b"History-Info: <%b>;index=%b" % (came, parent))
    kind = b"np" if stays else b"mp"
    entries.append(b"History-Info: <%b;cause=%d>;index=%b.1;%b=%b" % (sent, way.cause, parent, kind, parent))
    return entries


def _address(uri: bytes) -> bytes:
    """Scheme, user and host of a URI, to be compared."""
    return uri.partition(b"?")[0].partition(b";")[0].lower()
