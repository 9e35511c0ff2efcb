"""Which of several routers on one machine a message belongs to: pure arithmetic on its bytes, the same in every router.

Any router may read any message; what it does not own it hands to the owner, once. The owner is told by the Call-ID and by nothing
else: it stands in an INVITE, its retransmissions, its CANCEL, the ACK of its refusal, every response, and every request within
the dialog from either side. So one call lives in one slot from its first message to its last, its answered record among them, and
no count of it is kept anywhere else (docs/decisions/0020).

Whoever makes a Call-ID of its own, as our OPTIONS do, makes one it owns (`own_call_id`).
"""

from __future__ import annotations

import re
from typing import Final

MAX_ROUTERS: Final = 16  # slots of one machine; a slot is one letter of our branch
SUMMED: Final = 32  # octets of a Call-ID that say whose it is
MAX_SALT: Final = 1000  # Call-IDs tried until one is ours; each has a chance of one in MAX_ROUTERS at least

_USUAL: Final = b"\r\nCall-ID: "
_ANY: Final = re.compile(rb"\r?\n(?:call-id|i)[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE)


def owner_of(data: bytes, slots: int, reader: int) -> int:
    """The slot a message belongs to.

    Args:
        data: a whole message as received.
        slots: how many there are, 1..MAX_ROUTERS.
        reader: the slot of who read it: it keeps what names no call.
    Cost: 0.5 µs for a Call-ID written the usual way.
    """
    head = data.find(b"\r\n\r\n")
    at = data.find(_USUAL, 0, head) if head > 0 else data.find(_USUAL)
    if at >= 0:
        start = at + len(_USUAL)
        call_id = data[start : data.find(b"\r", start)].strip()
        if call_id:  # else it stands on a line of its own
            return sum(call_id[:SUMMED]) % slots
    found = _ANY.search(data, 0, head if head > 0 else len(data))
    return reader if found is None else owner_of_call(b"".join(found.group(1).split()), slots)


def owner_of_call(call_id: bytes, slots: int) -> int:
    """The slot of a Call-ID, written without blanks: the sum of its first octets, which a kernel without loops can tell too
    (`supervisor/steering.py`), and which spreads counters, hexadecimal digits and UUIDs evenly.
    """
    return sum(call_id[:SUMMED]) % slots


def own_call_id(mark: bytes, host: bytes, slots: int, slot: int) -> bytes:
    """A Call-ID that holds `mark`, and whose messages belong to `slot`."""
    call_id = mark + b"@" + host
    for salt in range(MAX_SALT):
        if slots == 1 or owner_of_call(call_id, slots) == slot:
            break
        call_id = b"%d-%b@%b" % (salt, mark, host)
    return call_id
