"""A desk on a free port with a controller made of lists at the other end of its link; for the tests of API and CLI."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sipctl.api.desk import run_desk
from sipctl.control.ports import Answer, CallReport, Command, FromDesk, Notice, View, WriteFailed
from sipctl.store.sqlite import SqliteStore

FROM_DESK = msgspec.msgpack.Decoder(FromDesk)
Script = Callable[[Command], list[Answer]]


def a_status(**changes: Any) -> dict[str, Any]:
    group = {"state": "normal", "active": "primary", "bcp_percent": 0, "epoch": 7, "reason": "as planned", "held": None,
             "pinned": None, "latched": None, "frozen": None}  # fmt: skip
    sbc = {"operating": "in-service", "admin": "enabled", "resting_s": 0, "calls": 12, "reason": "answers OPTIONS"}
    status: dict[str, Any] = {
        "revision": 812, "folder_differs": False, "age_s": 0.0, "automation": "on",
        "routers": [{"name": "r1", "revision": 812, "term": 4, "seq": 97, "pid": 4711}],
        "groups": {"acme": group, "bank": {**group, "epoch": 1}},
        "sbcs": {"fra-a": sbc, "fra-b": {**sbc, "calls": 0}, "ams-a": {**sbc, "calls": 0}},
        "trunks": {"carrier-one": {"calls": 12, "cps": 3, "last_invite": "2026-11-22T03:47:37Z", "admin": "enabled"}},
        "tenants": {"acme-prod": {"operating": "in-service", "admin": "enabled", "calls": 12},
                    "acme-bcp": {"operating": "in-service", "admin": "enabled", "calls": 0}},
        "calls": {"active": 12}, "alarms": [], "strangers": 1,
    }  # fmt: skip
    return {**status, **changes}


def a_view(**changes: Any) -> View:
    strangers = [
        {"address": "203.0.113.77", "packets": 5, "last_seen": "2026-09-21T14:13:20Z"},
        {"address": "203.0.113.78", "packets": 9, "last_seen": "2026-09-21T14:13:21Z"},
    ]
    detail = {"counters": {"invites": 3}, "strangers": strangers}
    return View(status=a_status(**changes), detail=detail)


class MemoryLink:
    """The desk's end of a link, as lists."""

    def __init__(self) -> None:
        self.is_open = True
        self.sent: list[bytes] = []
        self.on_send: Callable[[bytes], None] = self.sent.append
        self._inbox: asyncio.Queue[tuple[bytes, list[int]] | None] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        if self.is_open:
            self.on_send(data)

    async def receive(self) -> tuple[bytes, list[int]] | None:
        return await self._inbox.get()

    def close(self) -> None:
        self.is_open = False
        self._inbox.put_nowait(None)

    def push(self, data: bytes) -> None:
        self._inbox.put_nowait((data, []))


class MemoryLinks:
    """What the supervisor would hand out."""

    def __init__(self) -> None:
        self.controllers: asyncio.Queue[MemoryLink] = asyncio.Queue()
        self.routers: asyncio.Queue[MemoryLink] = asyncio.Queue()

    async def controller(self) -> MemoryLink:
        return await self.controllers.get()

    async def events(self) -> MemoryLink:
        return await self.routers.get()


class FakeController:
    """Answers commands from a script, and keeps them."""

    def __init__(self) -> None:
        self.link = MemoryLink()
        self.link.on_send = self._take
        self.commands: list[Command] = []
        self.failures: list[WriteFailed] = []
        self.reports: list[CallReport] = []
        self.script: Script = lambda command: [Answer(command.id, "done", f"{command.op} is done")]

    def say(self, frame: View | Notice | Answer) -> None:
        self.link.push(msgspec.msgpack.encode(frame))

    def _take(self, data: bytes) -> None:
        frame = FROM_DESK.decode(data)
        if isinstance(frame, CallReport):
            self.reports.append(frame)
            return
        if isinstance(frame, WriteFailed):
            self.failures.append(frame)
            return
        self.commands.append(frame)
        for answer in self.script(frame):
            self.say(answer)


class RunningDesk:
    """`run_desk` with its surroundings."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.links = MemoryLinks()
        self.controller = FakeController()
        self.store = SqliteStore(state_dir / "sipctl.db")
        self.api = "127.0.0.1:0"
        self.address = ""
        self.now_s = 1_790_000_000.0
        self.mono_s: Callable[[], float] = time.monotonic
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, connect: bool = True) -> None:
        bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(
            run_desk(
                self.links, self.store, self.state_dir, self.api, mono_s=lambda: self.mono_s(), wall_s=lambda: self.now_s,
                stopped=self._stopped, node="fra-1", on_bound=bound.set_result,
            )
        )  # fmt: skip
        await asyncio.wait((bound, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self.address = bound.result()
        while not (self.state_dir / "admin.token").exists() or not self.store.tokens.active():
            await asyncio.sleep(0.005)
        if connect:
            self.connect(a_view())
            await self.settled()

    def connect(self, view: View | None = None) -> None:
        self.links.controllers.put_nowait(self.controller.link)
        if view is not None:
            self.controller.say(view)

    async def settled(self) -> None:
        """Everything that was pushed has been read: the queues are the loop's own, so a few turns are enough."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def stop(self) -> None:
        self._stopped.set()
        if self._task is not None:
            await self._task
        self.store.close()

    async def ended(self) -> None:
        """Wait until it ends by itself. Raises: what ended it."""
        assert self._task is not None
        await self._task

    def secret(self, role: str = "admin") -> str:
        """A token of that role, made behind the API's back."""
        return (self.state_dir / "admin.token").read_text().strip()


class ThreadedDesk:
    """A desk in a thread of its own, for callers that block: the command line."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> ThreadedDesk:
        self._thread.start()
        self.desk: RunningDesk = self.run(self._made())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.desk.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def show(self, **changes: Any) -> None:
        """Let the controller send a view that differs so from the usual one."""
        self.run(self._show(changes))

    @property
    def controller(self) -> FakeController:
        return self.desk.controller

    async def _made(self) -> RunningDesk:
        desk = RunningDesk(self._state_dir)
        await desk.start()
        return desk

    async def _show(self, changes: Mapping[str, Any]) -> None:
        self.desk.controller.say(a_view(**changes))
        await self.desk.settled()
