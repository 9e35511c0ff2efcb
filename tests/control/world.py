"""A controller's surroundings in memory: links, store, compiler, disk; the real Controller between them."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from sipctl.control.controller import Surroundings, run_controller
from sipctl.control.ports import (
    Ack,
    Answer,
    Command,
    CompileResult,
    DecisionRecord,
    FromDesk,
    FromRouter,
    Hello,
    Nack,
    Notice,
    Publish,
    Revision,
    ToDesk,
    ToRouter,
    View,
    Wishes,
)
from sipctl.errors import EngineError, SnapshotError, StoreError
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import RoutingState, Topology
from sipctl.routing.table import Table, encode_table, load_table
from tests.control.test_dns import FakeDns
from tests.support.plans import a_topology, the_numbers


class KilledError(Exception):
    """The process ends here."""


class MemoryStore:
    """What the embedded store does, in a few dicts; `fails` makes every write raise."""

    def __init__(self) -> None:
        self.wishes = Wishes()
        self.term = 0
        self.records: list[DecisionRecord] = []
        self.kept: list[Revision] = []
        self.live: int | None = None
        self.given: dict[str, dict[str, int]] = {}
        self.secrets: list[tuple[int, bytes, float]] = []
        self.fails = False
        self.log: list[str] = []

    def copied(self) -> MemoryStore:
        """What a successor finds, if everything stops now."""
        return copy.deepcopy(self)

    def _write(self, what: str) -> None:
        if self.fails:
            raise StoreError("disk full")
        self.log.append(what)

    def load_wishes(self) -> Wishes:
        return self.wishes

    def save_wishes(self, wishes: Wishes) -> None:
        self._write("wishes")
        self.wishes = wishes

    def take_term(self, at_least: int) -> int:
        self._write("term")
        self.term = max(self.term, at_least) + 1
        return self.term

    def append_decision(self, record: DecisionRecord) -> None:
        self._write("decision")
        self.records.append(record)

    def decisions(self, group: str | None, limit: int) -> list[DecisionRecord]:
        return [record for record in reversed(self.records) if group in (None, record.group)][:limit]

    def add_revision(self, revision: Revision) -> None:
        self._write("revision")
        self.kept.append(revision)

    def end_canary(self, number: int, text: str, fell: bool) -> None:
        self._write("canary")
        ended = [msgspec.structs.replace(one, ended=text, fell=fell) for one in self.kept if one.number == number]
        self.kept = [one for one in self.kept if one.number != number] + ended

    def revision(self, number: int) -> Revision | None:
        return next((one for one in self.kept if one.number == number), None)

    def revisions(self, limit: int) -> list[Revision]:
        return sorted(self.kept, key=lambda one: -one.number)[:limit]

    def live_revision(self) -> Revision | None:
        return None if self.live is None else self.revision(self.live)

    def set_live(
        self, number: int, at_unix_s: float, wishes: Wishes | None = None, renamed: Mapping[str, Mapping[str, str]] = {}
    ) -> None:
        self._write("live")
        for kind, names in renamed.items():
            for new, old in names.items():
                self.given[kind][new] = self.given[kind].pop(old)
        self.live = number
        self.wishes = self.wishes if wishes is None else wishes
        lived = [msgspec.structs.replace(one, live_at_unix_s=at_unix_s) for one in self.kept if one.number == number]
        self.kept = [one for one in self.kept if one.number != number] + lived

    def ids(self) -> dict[str, dict[str, int]]:
        return {kind: dict(names) for kind, names in self.given.items()}

    def save_ids(self, ids: Mapping[str, Mapping[str, int]]) -> None:
        self._write("ids")
        for kind, names in ids.items():
            taken = {given: name for name, given in self.given.setdefault(kind, {}).items()}
            assert all(taken.get(given, name) == name for name, given in names.items()), "an id names one thing"
            self.given[kind].update(names)

    def keys(self) -> list[tuple[int, bytes, float]]:
        return list(self.secrets)

    def save_key(self, key_id: int, secret: bytes, at_unix_s: float) -> None:
        self._write("key")
        self.secrets.append((key_id, secret, at_unix_s))


class FakeCompiler:
    """Makes a table from the small plan; the text of `plan` chooses what becomes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[int] = []
        self.compared: list[str] = []  # images of the live plan
        self._go: asyncio.Event | None = None

    async def __call__(
        self,
        files: Mapping[str, str],
        revision: int,
        ids: Mapping[str, Mapping[str, int]],
        despite: tuple[str, ...] = (),
        against: str = "",
    ) -> CompileResult:
        self.asked.append(revision)
        self.compared.append(against)
        await asyncio.sleep(0)
        if self._go is not None:
            await self._go.wait()
        text = files.get("plan", "")
        if text == "dies":
            raise EngineError("the compiler died")
        finding = {"path": "plan", "line": 1, "column": 1, "code": "plan.bad", "severity": "error", "message": "bad"}
        if text == "bad":
            return CompileResult((finding,))
        findings = ({**finding, "code": "test.failed"},) if text == "failing test" else ()
        path = self.folder / f"{revision}.table"
        path.write_bytes(an_image(revision, text))
        groups = {"bank": 1} if text == "renamed group" else {"acme": 1}
        return CompileResult(findings, str(path), {"sbc": {"fra-a": 2}, "group": groups}, ("1 numbers move",) if against else ())

    def wait(self) -> asyncio.Event:
        """Compile nothing until this is set."""
        self._go = asyncio.Event()
        return self._go


def an_image(revision: int, text: str) -> bytes:
    topology = the_topology(revision, text)
    return encode_table(topology, the_numbers(topology, private={}))


def the_topology(revision: int, text: str) -> Topology:
    topology = a_topology(revision=revision)
    trunks = topology.trunks[:1] if text == "one trunk" else topology.trunks
    group = topology.groups[0]
    if text == "other group":
        group = replace(group, name="bank")
    elif text == "renamed group":
        group = replace(group, name="bank", renamed_from="acme")
    return a_topology(revision=revision, trunks=trunks, groups=(group,))


class FakeRouter:
    """The router's end of a link: takes publications as a router does and remembers them."""

    def __init__(self, held: RoutingState | None = None) -> None:
        self.held = held
        self.tables: dict[str, Table] = {}
        self.published: list[RoutingState] = []
        self.frames: list[ToRouter] = []
        self.with_table = 0
        self.refuses = False
        self.closed = False
        self._to_controller: asyncio.Queue[FromRouter | None] = asyncio.Queue()
        self.say(Hello("r1", 0, 4711, held))

    def say(self, frame: FromRouter | None) -> None:
        self._to_controller.put_nowait(frame)

    async def receive(self) -> FromRouter | None:
        return await self._to_controller.get()

    def send(self, frame: ToRouter, fds: Sequence[int] = ()) -> None:
        self.frames.append(frame)
        if not isinstance(frame, Publish):
            return
        state = frame.state
        assert frame.has_table == bool(fds)
        for fd in fds:
            table = load_table(os.pread(fd, os.fstat(fd).st_size, 0))
            self.tables[table.hash] = table
            self.with_table += 1
        if self.held is not None:
            assert (state.term, state.seq) >= (self.held.term, self.held.seq), "(term, seq) never falls"
        if self.refuses:
            self.say(Nack("r1", state.term, state.seq, "no wish to"))
            return
        try:
            canary = None if state.canary is None else self.tables[state.canary.table]
            RoutingSnapshot.build(self.tables[state.table], state, canary)
        except (KeyError, SnapshotError) as error:
            self.say(Nack("r1", state.term, state.seq, f"{type(error).__name__}: {error}"))
            return
        self.held = state
        self.published.append(state)
        self.say(Ack("r1", state.term, state.seq, state.revision))

    def close(self) -> None:
        self.closed = True


class FakeDesk:
    """The desk's end of its link."""

    def __init__(self) -> None:
        self.frames: list[ToDesk] = []
        self.closed = False
        self._to_controller: asyncio.Queue[FromDesk | None] = asyncio.Queue()
        self._count = 0

    async def receive(self) -> FromDesk | None:
        return await self._to_controller.get()

    def say(self, frame: FromDesk | None) -> None:
        self._to_controller.put_nowait(frame)

    def send(self, frame: ToDesk) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        self.closed = True

    @property
    def view(self) -> View:
        return [frame for frame in self.frames if isinstance(frame, View)][-1]

    @property
    def notices(self) -> list[Notice]:
        return [frame for frame in self.frames if isinstance(frame, Notice)]

    def answers(self, operation: str) -> list[Answer]:
        return [frame for frame in self.frames if isinstance(frame, Answer) and frame.id == operation]

    def begin(
        self, op: str, *, dry_run: bool = False, reason: str = "a test", role: str = "operator", **args: Any
    ) -> Command:  # fmt: skip
        """Send one command."""
        self._count += 1
        command = Command(f"{op}-{id(self)}-{self._count}", op, args, "ops-1", reason, dry_run, role=role)
        self.say(command)
        return command

    async def order(self, op: str, **args: Any) -> Answer:
        """One command and its final answer."""
        command = self.begin(op, **args)
        await until(lambda: any(answer.final for answer in self.answers(command.id)))
        return self.answers(command.id)[-1]

    def finals(self, op: str) -> list[Answer]:
        return [frame for frame in self.frames if isinstance(frame, Answer) and frame.final and frame.id.startswith(f"{op}-")]


class FakeLinks:
    def __init__(self) -> None:
        self._routers: asyncio.Queue[FakeRouter] = asyncio.Queue()
        self._desks: asyncio.Queue[FakeDesk] = asyncio.Queue()

    def connect(self, end: FakeRouter | FakeDesk) -> None:
        if isinstance(end, FakeRouter):
            self._routers.put_nowait(end)
        else:
            self._desks.put_nowait(end)

    async def router(self) -> FakeRouter:
        return await self._routers.get()

    async def desk(self) -> FakeDesk:
        return await self._desks.get()


class Office:
    """Everything around one controller, and the controller; a store and a disk that outlive it."""

    def __init__(self, folder: Path, files: Mapping[str, str] | None = None) -> None:
        self.folder: Mapping[str, str] | None = {"plan": "good"} if files is None else files
        self.store = MemoryStore()
        self.compiler = FakeCompiler(folder)
        self.dns = FakeDns({})
        self.generations: list[tuple[RoutingState, str]] = []
        self.disk_fails = False
        self.links = FakeLinks()
        self.stopped = asyncio.Event()
        self.ready: list[int] = []
        self.reached: list[str] = []  # steps of an apply
        self.watch: set[str] = set()  # at these, nothing goes on
        self.died_at: list[str] = []
        self.looks = 0  # at the folder
        self.saved: asyncio.Queue[None] | None = None  # one item a burst of saves; None: nobody watches the folder
        self._left: MemoryStore | None = None
        self.task: asyncio.Task[None] | None = None

    def write_generation(self, state: RoutingState, paths: tuple[str, ...]) -> None:
        if self.disk_fails:
            raise OSError("disk full")
        self.generations.append((state, paths[0]))
        assert len(paths) == 1 + (state.canary is not None)

    def step(self, name: str) -> None:
        """A step was reached; at a watched one the process stops for good, as by kill -9."""
        self.reached.append(name)
        if name in self.watch:
            self.watch.clear()
            self.died_at.append(name)
            self._left = self.store.copied()
            raise KilledError(name)

    async def start(self, router: FakeRouter | None = None, *, hear_s: float = 1.0) -> FakeDesk:
        """A new controller with a router (None: a fresh one) and a desk; waits until it is ready."""
        loop = asyncio.get_running_loop()
        self.links, self.stopped, desk = FakeLinks(), asyncio.Event(), FakeDesk()
        self.ready.clear()
        self.router = FakeRouter() if router is None else router
        self.links.connect(self.router)
        self.links.connect(desk)
        around = Surroundings(
            links=self.links,
            store=self.store,
            compile_plan=self.compiler,
            read_folder=self.read_folder,
            write_generation=self.write_generation,
            resolver=self.dns,
            mono_s=loop.time,
            wall_s=lambda: 1.8e9 + loop.time(),
            hear_s=hear_s,
            reached=self.step,
            folder_changes=None if self.saved is None else self._saves,
        )
        self.task = asyncio.ensure_future(run_controller(around, self.stopped, self.ready.append))
        await until(lambda: bool(self.ready) or self.task is None or self.task.done())
        if self.task.done():
            self.task.result()
        return desk

    async def _saves(self) -> AsyncIterator[None]:
        assert self.saved is not None
        while True:
            await self.saved.get()
            yield None

    def read_folder(self) -> Mapping[str, str] | None:
        self.looks += 1
        return self.folder

    async def save(self, files: Mapping[str, str] | None) -> None:
        """Somebody saves the folder, and the watch has a look."""
        assert self.saved is not None
        self.folder = files
        looks = self.looks
        self.saved.put_nowait(None)
        await until(lambda: self.looks > looks)

    async def stop(self) -> None:
        assert self.task is not None
        self.stopped.set()
        await self.task

    async def die(self) -> None:
        """As by kill -9: nothing more is written."""
        assert self.task is not None
        self.store, kept = MemoryStore(), self.store
        if self._left is None:  # else it ends by itself
            self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.store, self._left = self._left or kept, None


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Let the loop turn until something holds."""
    end_s = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < end_s, "it did not come about in time"
        await asyncio.sleep(0.005)
