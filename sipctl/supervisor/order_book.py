"""STATE/local-orders.json: what an operator ordered on this node and no controller has taken yet (routing/local_orders.py).

It is written before routers are told, so that whoever starts anew, router, supervisor or machine, goes by it. An order leaves the
file once a snapshot on disk holds it; the number of the last one stays, so that no number is ever given twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sipctl.engine.generation import replace_file
from sipctl.errors import SipctlError
from sipctl.routing.local_orders import MAX_ORDERS, LocalOrder

NAME = "local-orders.json"
MAX_BYTES = 32 << 20


class _Page(msgspec.Struct, frozen=True):
    last: int = 0
    orders: tuple[LocalOrder, ...] = ()


class OrderBook:
    """The file and what stands in it; one writer at a time, who holds the lock of STATE."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._page = _Page()

    @property
    def orders(self) -> tuple[LocalOrder, ...]:
        return self._page.orders

    @property
    def last(self) -> int:
        """The highest number given so far."""
        return self._page.last

    def load(self) -> str:
        """Read the file; returns what is wrong with it, in a sentence, or nothing. A damaged one is put aside, not lost."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise ValueError(f"it is longer than {MAX_BYTES} bytes")
            self._page = msgspec.json.decode(data, type=_Page)
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            aside = self._path.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                self._path.rename(aside)
            return f"{self._path} cannot be read ({error}): it is put aside as {aside.name}; routers keep the orders they follow"
        return ""

    def add(self, orders: Sequence[LocalOrder]) -> str:
        """Take new orders down; they stand even if the disk refuses, which the sentence that is returned then tells."""
        kept = {order.group: order for order in self._page.orders}
        kept |= {order.group: order for order in orders}  # of a group the last stands
        number = max((order.number for order in orders), default=0)
        self._page = _Page(max(self._page.last, number), tuple(kept.values())[-MAX_ORDERS:])
        return self._write()

    def settle(self, taken: int) -> str:
        """Strike the orders up to this number: a snapshot on disk holds them. Returns what the disk refused, or nothing."""
        left = tuple(order for order in self._page.orders if order.number > taken)
        if len(left) == len(self._page.orders):
            return ""
        self._page = _Page(max(self._page.last, taken), left)
        return self._write()

    def _write(self) -> str:
        try:
            replace_file(self._path, msgspec.json.format(msgspec.json.encode(self._page)))
        except (OSError, SipctlError) as error:
            return f"{self._path} cannot be written: {error}"
        return ""
