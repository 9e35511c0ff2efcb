"""The desk's life: links in, API out, and everything between them in one asyncio loop.

The controller's link brings views, notices and answers; each router's event link brings call events and log lines. Links come and
go with the processes at their other ends; the desk takes each new one and goes on meanwhile with what it knows: the last view
with its age, the store, metrics. What touches the disk (call records, log, store) has threads of its own: a full or hung disk
delays no answer that does not need it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from sipctl.api.alerts import Alerts
from sipctl.api.application import Log, build_app
from sipctl.api.audit import DeskAudit
from sipctl.api.observations import OBSERVER
from sipctl.api.problems import Problem
from sipctl.api.state import DeskState
from sipctl.api.tokens import first_admin
from sipctl.control.ports import Answer, Notice, ToDesk, View, WriteFailed
from sipctl.errors import EngineError
from sipctl.store.sqlite import SqliteStore
from sipctl.telemetry.call_ages import CallAges
from sipctl.telemetry.cdr import Line, split_packet
from sipctl.telemetry.cdr_files import CdrWriter
from sipctl.telemetry.log import LineWriter, logger
from sipctl.telemetry.metrics import Metrics
from sipctl.telemetry.observed_metrics import ObservedMetrics
from sipctl.telemetry.observing import REPORT_S, CallObserver

BIND_TRIES: Final = 20  # a desk that was just killed may still hold the port
BIND_RETRY_S: Final = 0.25
TOKENS_RETRY_S: Final = 5.0
TOKENS_WITHIN_S: Final = 2.0  # the API waits so long for the tokens; a hung disk must not keep /healthz and /metrics away
SHUTDOWN_S: Final = 1.0

_TO_DESK: Final = msgspec.msgpack.Decoder(ToDesk)


class PacketLink(Protocol):
    """One end of a link whose packets are whole frames."""

    @property
    def is_open(self) -> bool: ...
    def send(self, data: bytes) -> None:
        """Never waits; silently lost on a closed link."""

    async def receive(self) -> tuple[bytes, list[int]] | None:
        """The next packet; None once the link is closed."""

    def close(self) -> None: ...


class DeskLinks(Protocol):
    """New links, one after the other, for as long as the desk lives."""

    async def controller(self) -> PacketLink:
        """The next link to a controller; it takes the place of the one before."""

    async def events(self) -> PacketLink:
        """The next router's event link."""


class Desk:
    """The parts of one desk, joined. `run_desk` is its only user besides tests."""

    def __init__(
        self,
        store: SqliteStore,
        state_dir: Path,
        *,
        mono_s: Callable[[], float],
        wall_s: Callable[[], float],
        node: str = "",
        log_to: Path | int | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall_s = wall_s
        self._node = node
        self.state_dir = state_dir
        self.state = DeskState(store, mono_s=mono_s, wall_s=wall_s)
        self.metrics = Metrics(self._picture, lambda: self.state.view_age_s)
        self.metrics.desk = self._counts
        self._lines = LineWriter(
            log_to if log_to is not None else state_dir / "log" / "sipctl.jsonl", on_failure=partial(self._write_failed, "log")
        )
        self.log: Log = logger(self._lines, wall_s, role="desk")
        self.cdr = CdrWriter(
            state_dir / "cdr", wall_s, node=node, on_failure=partial(self._write_failed, "cdr"), on_line=self._count_line,
            on_removed=lambda day: self.log.info("call records of a day were removed: limits: cdr_days", day=day),
        )  # fmt: skip
        self.state.ages = CallAges(lambda: self.cdr.up(), wall_s)
        self.calls = CallObserver(mono_s())
        self.metrics.registry.register(ObservedMetrics(self.calls, mono_s))
        self.audit = DeskAudit(
            state_dir,
            wall_s,
            failed=self._write_failed,
            log_head=lambda event, head: self.log.info(event, record=head.number, hash=head.hash),
        )
        self.alerts = Alerts(
            state_dir, mono_s=mono_s, wall_s=wall_s, node=node, failed=self._write_failed, audited=self.audit.put,
            log=lambda event, **more: self.log.info(event, **more),
        )  # fmt: skip
        self.state.audited = self.audit.operation
        self.state.audit_head = lambda: {"records": self.audit.head.number, "head": self.audit.head.hash}
        self.bad_packets = 0
        self._link: PacketLink | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- links -------------------------------------------------------------------------------------------------------------

    async def serve_controllers(self, links: DeskLinks) -> None:
        """Take each controller's link as it comes; the newest one counts."""
        while True:
            link = await links.controller()
            if self._link is not None:
                self._link.close()
            self._link = link
            self.state.on_link(_Sender(link))
            self.log.info("the controller is connected")
            self._start(self._read_controller(link))

    async def serve_routers(self, links: DeskLinks) -> None:
        while True:
            self._start(self._read_router(await links.events()))

    async def _read_controller(self, link: PacketLink) -> None:
        while (packet := await link.receive()) is not None:
            try:
                self._from_controller(packet[0])
            except Exception:
                self.bad_packets += 1
                self.log.exception("a frame of the controller could not be taken in; the desk goes on with the next")
        if self._link is link:
            self._link = None
            self.state.on_link(None)
            self.log.warning("the controller is gone; routers go on with what they have")

    def _from_controller(self, data: bytes) -> None:
        try:
            frame = _TO_DESK.decode(data)
        except msgspec.DecodeError as error:
            self.bad_packets += 1
            self.log.error("a frame of the controller cannot be read", error=str(error))
            return
        if isinstance(frame, View):
            self.state.on_view(frame)
            self.alerts.on_view(frame)
            self._name_node(frame)
        elif isinstance(frame, Notice):
            self.state.on_notice(frame)
            self.alerts.on_notice(frame)
            self.metrics.count_notice(frame.kind)
            self.log.info(frame.text, kind=frame.kind, fields=dict(frame.fields))
        else:
            self.state.on_answer(frame)
            self._log_answer(frame)

    def _name_node(self, view: View) -> None:
        self.cdr.keep_days(view.detail.get("cdr_days"))
        name = (view.status.get("node") or {}).get("name")
        if name and name != self._node:
            self._node = name
            self.cdr.name_node(name)

    def _log_answer(self, answer: Answer) -> None:
        if answer.final:
            self.log.info("an operation ended", operation=answer.id, status=answer.status, text=answer.text, code=answer.code)

    async def _read_router(self, link: PacketLink) -> None:
        while (packet := await link.receive()) is not None:
            try:
                calls, lines = split_packet(packet[0])
            except msgspec.DecodeError:
                self.bad_packets += 1
                continue
            now_s = self.state.mono_s()
            for event in calls:
                self.cdr.put(event)
                self.calls.take(event, now_s)
            for line in lines:
                self.log.info(line.slug, router=line.router, at_unix_s=line.at_unix_s, fields=dict(line.fields))

    async def tell_observations(self) -> None:
        """What live calls show, to the controller, now and then."""
        while True:
            await asyncio.sleep(REPORT_S)
            now_s = self.state.mono_s()
            self.calls.tick(now_s)
            self._tell(msgspec.msgpack.encode(self.calls.report(now_s)))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._link_ended)

    def _link_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self.log.error("what reads a link ended by a fault in sipctl", exc_info=bug)

    # -- what others ask of it ---------------------------------------------------------------------------------------------

    def _picture(self) -> dict[str, Any] | None:
        view = self.state.view
        return None if view is None else {"status": {**view.status, **self.state.switched(view)}, "detail": view.detail}

    def _count_line(self, line: Line) -> None:
        """One call record was made; from the writer's thread."""
        self.metrics.count_line(line)
        if self.state.ages is not None:
            self.state.ages.note(line)

    def _counts(self) -> dict[str, int]:
        cdr, state = self.cdr, self.state
        return {
            "cdr.lines": cdr.written, "cdr.lines-dropped": cdr.dropped_lines, "cdr.events-dropped": cdr.dropped_events,
            "cdr.ends-without-facts": cdr.ends_without_facts, "cdr.calls-evicted": cdr.evicted,
            "cdr.days-removed": cdr.removed_days,
            "log.lines-dropped": self._lines.dropped, "packets-unreadable": self.bad_packets,
            "observations-late": self.calls.late, "observations-evicted": self.calls.evicted + self.calls.observed.evicted,
            **self.audit.counts,
            **self.alerts.counts,
            "operations-lost": state.lost_operations, "operations-unsaved": state.unsaved_operations, "events": state.ring.last,
        }  # fmt: skip

    def _write_failed(self, what: str, text: str) -> None:
        """Tell the controller, which makes an alarm of it. Called from the writers' threads."""
        data = msgspec.msgpack.encode(WriteFailed(what, text))
        self._loop.call_soon_threadsafe(self._tell, data)

    def _tell(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    # -- start and end -----------------------------------------------------------------------------------------------------

    async def prepare_tokens(self) -> None:
        """Make the first token if there is none, and read them all; tried again until the store lets us."""
        while True:
            try:
                made = await self.state.ask_store(lambda: first_admin(self.state.store, self.state_dir, self._wall_s()))
                await self.state.load_tokens()
            except Problem as problem:
                self.log.error("the tokens cannot be read", text=problem.detail, hint=problem.hint)
                await asyncio.sleep(TOKENS_RETRY_S)
                continue
            if made is not None:
                self.log.info("an admin token was written to STATE/admin.token", token=made)
            return

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self.alerts.close()
        await self.state.close()
        await self.audit.close()
        await asyncio.to_thread(self.cdr.close)
        await asyncio.to_thread(self._lines.close)


async def run_desk(
    links: DeskLinks,
    store: SqliteStore,
    state_dir: Path,
    api: str,
    *,
    mono_s: Callable[[], float],
    wall_s: Callable[[], float],
    stopped: asyncio.Event,
    node: str = "",
    on_bound: Callable[[str], None] = lambda address: None,
    log_to: Path | int | None = None,
) -> None:
    """Serve until ``stopped``.

    Args:
        api: HOST:PORT to bind; port 0 takes a free one. The address bound is written to STATE/run/api and told to ``on_bound``.
        log_to: file or descriptor for log lines; None: STATE/log/sipctl.jsonl.
    Raises: EngineError when the address cannot be bound.
    """
    for folder in ("run", "log", "cdr"):
        (state_dir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    desk = Desk(store, state_dir, mono_s=mono_s, wall_s=wall_s, node=node, log_to=log_to)
    desk.audit.began(node)
    app = build_app(desk.state, desk.metrics, desk.log, desk.audit, desk.alerts)
    app[OBSERVER] = desk.calls
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    tasks = [
        asyncio.ensure_future(work)
        for work in (
            desk.prepare_tokens(), desk.audit.live(), desk.serve_controllers(links), desk.serve_routers(links),
            desk.tell_observations(), desk.alerts.live(),
        )
    ]  # fmt: skip
    try:
        await asyncio.wait(tasks[:1], timeout=TOKENS_WITHIN_S)
        await runner.setup()
        address = await _bind(runner, _wanted(api, state_dir / "run" / "api"))
        _write_whole(state_dir / "run" / "api", f"{address}\n")
        on_bound(address)
        desk.log.info("the API is served", address=address)
        if not _is_loopback(address):
            desk.log.warning("the API is open to other machines and has no TLS of its own: put a proxy with TLS before it")
        await _stopped_or_broken(stopped, tasks, desk.log)
    finally:
        for task in tasks:
            task.cancel()
        await runner.cleanup()
        await desk.close()


async def _stopped_or_broken(stopped: asyncio.Event, duties: list[asyncio.Task[None]], log: Log) -> None:
    """Wait for the desk's end. A duty that fails is that too: a desk that is deaf would never be replaced by another."""
    stop = asyncio.ensure_future(stopped.wait())
    waiting: set[asyncio.Task[Any]] = {stop, *duties}
    try:
        while stop in waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for duty in done - {stop}:
                if not duty.cancelled() and (bug := duty.exception()) is not None:
                    log.error("the desk ends by a fault in sipctl", exc_info=bug)
                    raise bug
    finally:
        stop.cancel()


class _Sender:
    def __init__(self, link: PacketLink) -> None:
        self._link = link

    def send(self, data: bytes) -> None:
        self._link.send(data)
        if not self._link.is_open:
            raise ConnectionResetError("the controller is gone")


def _wanted(api: str, told: Path) -> tuple[str, ...]:
    """What to bind, best first. Where any port will do, that of the desk before: whoever uses it finds it again."""
    try:
        before = told.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        before = ""
    host, _, port = api.rpartition(":")
    return (before, api) if port == "0" and before.rpartition(":")[0] == host else (api,)


async def _bind(runner: web.AppRunner, wanted: tuple[str, ...]) -> str:
    fault = ""
    for _ in range(BIND_TRIES):
        for api in wanted:
            host, _, port = api.rpartition(":")
            host = host.strip("[]")
            if not host or not port.isdigit():
                raise EngineError(f"{api!r} is no HOST:PORT", hint="such as 127.0.0.1:8080 or [::1]:8080")
            site = web.TCPSite(runner, host, int(port), reuse_address=True)
            try:
                await site.start()
            except OSError as error:
                await site.stop()
                fault = f"the API cannot be bound to {api}: {error.strerror}"
                continue
            bound = runner.addresses[0]
            return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
        await asyncio.sleep(BIND_RETRY_S)
    raise EngineError(fault, hint="another program has it: ss -lntp")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _write_whole(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(text, "utf-8")
    draft.replace(path)
