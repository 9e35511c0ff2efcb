"""The seam between calls and `routing/rewrite.py`: what an attempt towards a pair with `send` needs, and forged headers found.

Calls towards pairs without `send` never come here; of a plan that sets no headers of its own, no call does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipctl.call.admit import caller_of
from sipctl.routing.rewrite import Edit, edit_of, facts_of, name_of, names_pattern, own_names
from sipctl.sip.message import FROM, Message

if TYPE_CHECKING:
    from sipctl.call.relay import SetUp
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.resolve import Route
    from sipctl.routing.select import Target


class Forged:
    """Headers that a plan sets itself: no caller may send them. Made once per snapshot."""

    __slots__ = ("_names", "_pattern")

    def __init__(self, names: frozenset[bytes], pattern: re.Pattern[bytes]) -> None:
        self._names = names
        self._pattern = pattern

    def lines(self, message: Message) -> list[int]:
        """Indexes of forged lines. Cost: one search through the message, unless there is one."""
        if self._pattern.search(message.data) is None:
            return []
        return [number for number, line in enumerate(message.lines) if name_of(line) in self._names]


def forged_of(snapshot: RoutingSnapshot) -> Forged | None:
    """What callers of this plan may not send; None: it sets no headers of its own."""
    names = own_names(snapshot.pairs)
    pattern = names_pattern(names)
    return None if pattern is None else Forged(names, pattern)


def edit_for(snapshot: RoutingSnapshot, relay: SetUp, route: Route, target: Target, sent: bytes) -> Edit:
    """How the INVITE of one attempt differs from what came in.

    Where identity is stripped, {calling} is the number in From: the asserted one is not told in another header instead.
    """
    leaving, message = target.leaving, relay.message
    assert leaving is not None and message is not None
    asked = relay.asked
    calling = asked.caller
    if leaving.strips_identity and asked.pai:
        calling = caller_of(message.lines[message.at[FROM]])
    return edit_of(relay.rest, leaving, facts_of(snapshot, route, target, calling, message.uri, sent))
