"""What is said at STATE/run/local, where the owner of STATE speaks to the supervisor itself (`door`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sipctl.engine.embedded.wire import Seen
from sipctl.routing.local_orders import LocalOrder

# -- asked ---------------------------------------------------------------------------------------------------------------------


class Ask(msgspec.Struct, tag="ask", frozen=True):
    """What runs here, and what do the routers go by?"""


class Give(msgspec.Struct, tag="give", frozen=True):
    """An order for groups, without a controller: exactly one of `group`, `tenant` (a pattern) and `every` is set."""

    kind: str  # routing.local_orders.KINDS
    to: str
    reason: str
    group: str = ""
    tenant: str = ""
    every: bool = False
    force: tuple[str, ...] = ()
    dry_run: bool = False


class Renew(msgspec.Struct, tag="renew", frozen=True):
    """Replace processes by new ones, one by one (`rolling`)."""

    parts: tuple[str, ...]  # of rolling.PARTS, in that order
    reason: str
    python: str = ""  # whose sipctl the new ones run; "": the same as now


Request = Ask | Give | Renew

# -- answered ------------------------------------------------------------------------------------------------------------------


class Worker(msgspec.Struct, frozen=True):
    """One process of this node."""

    name: str
    pid: int
    at_work: bool
    build: str = ""
    silent_s: float = 0.0  # since its last heartbeat


class Picture(msgspec.Struct, tag="picture", frozen=True):
    """Answer to `Ask`."""

    workers: tuple[Worker, ...]
    routers: tuple[Seen, ...]  # those that answered
    orders: tuple[LocalOrder, ...]  # that no controller has taken
    troubles: Mapping[str, str]  # of processes, a sentence each
    serves: bool  # the API answers and a controller decides
    silent: tuple[str, ...] = ()  # routers that did not answer


class Said(msgspec.Struct, tag="said", frozen=True):
    """How far it is."""

    text: str


class End(msgspec.Struct, tag="end", frozen=True):
    """How it ended."""

    status: str  # "done" | "refused" | "invalid" | "late" | "failed"
    text: str
    rule: str = ""
    hint: str = ""
    body: Mapping[str, Any] = {}


Answer = Picture | Said | End

_encoder = msgspec.msgpack.Encoder()
_request: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(frame: msgspec.Struct) -> bytes:
    return _encoder.encode(frame)


def request(data: bytes) -> Request:
    """Raises: msgspec.MsgspecError for what this build does not understand."""
    return _request.decode(data)


def answer(data: bytes) -> Answer:
    """Raises: msgspec.MsgspecError, as `request`."""
    return _answer.decode(data)
