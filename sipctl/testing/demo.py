"""`sipctl demo`: a real sipctl on loopback, a modelled carrier that calls it, and a primary tenant that falls silent and returns.

Calls flow → the primary's SBCs stop, sockets open → new calls are answered by BCP, calls that are up stay up → the primary
returns → it gets its share back in steps → everybody hangs up. Nothing is staged: the story tells what the carrier saw and
what the API said. Exit 0 only if no call was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from sipctl.app import Running, start
from sipctl.errors import SipctlError
from sipctl.testing.demo_display import ROLES, Display, Picture
from sipctl.testing.demo_parties import Traffic, is_lost, is_settled
from sipctl.testing.demo_plan import BCP, GROUP, PRIMARY, free_addresses, write_plan

FRAME_S: Final = 0.1
FLOW_S: Final = 7.0  # calls flow before the primary falls silent
SILENT_S: Final = 12.0
AFTER_RAMP_S: Final = 3.0
WAIT_S: Final = 25.0  # for anything that has to happen
ANSWER_S: Final = 10.0  # for calls that still ring at the end
HANG_UP_S: Final = 40.0  # until every BYE has its answer
PRIMARY_SBCS: Final = ("fra-a", "fra-b")
EXIT_LOST: Final = 1


class Demo:
    """The conductor: plays the phases and keeps the picture."""

    def __init__(self, traffic: Traffic, display: Display, api: str, token: str) -> None:
        self._traffic = traffic
        self._display = display
        self._api = api
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._status: dict[str, Any] = {}
        self._phase = ""
        self._mute: frozenset[str] = frozenset()
        self._silent_s: float | None = None
        self.detected_s: float | None = None
        self.first_at_bcp_s: float | None = None
        self.moved_s: float | None = None
        self.stayed_up = 0
        self.up_when_silent: list[str] = []

    @property
    def at_s(self) -> float:
        return self._loop.time() - self._began_s

    async def play(self, keep: bool, stop: asyncio.Event) -> None:
        """All phases; with `keep` calls go on until `stop` is set."""
        watching = [self._loop.create_task(self._watch_status()), self._loop.create_task(self._draw())]
        try:
            await self._story(stop)
            if keep and not stop.is_set():
                self._tell("the story is over; calls go on until Ctrl-C")
                await stop.wait()
            await self._end()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _story(self, stop: asyncio.Event) -> None:
        traffic = self._traffic
        self._enter("calls flow")
        await self._until(lambda: self._tenant_state(PRIMARY) == "in-service", stop)
        traffic.begin()
        self._tell("the carrier calls; the primary answers")
        await self._pause(FLOW_S, stop)
        self._enter("the primary is silent")
        self.up_when_silent = [note.call_id for note in traffic.notes if note.is_up]
        self._silent_s = self._loop.time()
        self._silence(True)
        self._tell(f"both SBCs of the primary fall silent with {len(self.up_when_silent)} calls up; their sockets stay open")
        await self._until(lambda: self.first_at_bcp_s is not None, stop)
        await self._until(lambda: self.moved_s is not None, stop)
        await self._pause(max(0.0, self._silent_s + SILENT_S - self._loop.time()), stop)
        self._enter("the primary returns")
        self.stayed_up = sum(not is_lost(note) for note in traffic.notes if note.call_id in set(self.up_when_silent))
        self._silence(False)
        self._tell(f"the primary's SBCs speak again; {self.stayed_up} of those {len(self.up_when_silent)} calls were kept")
        await self._until(lambda: self._group().get("state") in ("ramp", "normal"), stop)
        self._enter("ramp back")
        await self._until(lambda: self._group().get("state") == "normal", stop)
        self._enter("normal again")
        await self._pause(AFTER_RAMP_S, stop)

    async def _end(self) -> None:
        self._enter("everybody hangs up")
        traffic = self._traffic
        await traffic.stop_placing()
        until_s = self._loop.time() + ANSWER_S
        while any(note.final is None for note in traffic.notes) and self._loop.time() < until_s:
            await asyncio.sleep(FRAME_S)
        traffic.hang_up_all()
        until_s = self._loop.time() + HANG_UP_S
        while not all(is_settled(note) for note in traffic.notes) and self._loop.time() < until_s:
            await asyncio.sleep(FRAME_S)

    # -- what is watched -------------------------------------------------------------------------------------------------------

    async def _watch_status(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        timeout = aiohttp.ClientTimeout(total=2.0)
        told = ""
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while True:
                try:
                    async with session.get(f"{self._api}/v1/status") as response:
                        if response.status == 200:
                            self._status = await response.json()
                except (aiohttp.ClientError, TimeoutError):
                    self._status = {}
                self._notice()
                reason = self._group().get("reason", "")
                if reason and reason != told:
                    told = reason
                    self._tell(f"acme: {reason}")
                await asyncio.sleep(FRAME_S)

    def _notice(self) -> None:
        """The figures of the summary, as soon as they show."""
        if self._silent_s is None:
            return
        now_s = self._loop.time()
        if self.detected_s is None and self._tenant_state(PRIMARY) == "out-of-service":
            self.detected_s = now_s - self._silent_s
            self._tell(f"the primary is out of service: noticed after {self.detected_s:.1f} s")
        if self.moved_s is None and self._group().get("bcp_percent") == 100:
            self.moved_s = now_s - self._silent_s

    def _tenant_state(self, name: str) -> str:
        """A tenant's measured state; from its SBCs where status does not say it."""
        tenant = self._status.get("tenants", {}).get(name)
        if tenant is not None and "operating" in tenant:
            return str(tenant["operating"])
        role = "primary" if name != BCP else "BCP"
        sbcs = self._status.get("sbcs", {})
        states = {sbcs.get(name, {}).get("operating", "unknown") for name, served in ROLES.items() if served == role}
        return "in-service" if "in-service" in states else "unknown" if "unknown" in states else "out-of-service"

    def _group(self) -> dict[str, Any]:
        group: dict[str, Any] = self._status.get("groups", {}).get(GROUP, {})
        return group

    async def _draw(self) -> None:
        while True:
            self._find_first_at_bcp()
            self._traffic.tidy(self._loop.time())
            self._display.show(self._picture())
            await asyncio.sleep(FRAME_S)

    def _find_first_at_bcp(self) -> None:
        if self._silent_s is None or self.first_at_bcp_s is not None:
            return
        at_bcp = [n.answered_s for n in self._traffic.notes if n.answered_s and ROLES.get(self._traffic.sbc_of(n)) == "BCP"]
        if at_bcp:
            self.first_at_bcp_s = min(at_bcp) - self._silent_s
            self._tell(f"the first call is answered by BCP {self.first_at_bcp_s:.1f} s after the silence began")

    def _picture(self) -> Picture:
        traffic = self._traffic
        notes = traffic.notes
        answered = {name: sum(traffic.sbc_of(note) == name for note in notes) for name in ROLES}
        return Picture(
            at_s=self.at_s, phase=self._phase, placed=len(notes) + traffic.ended_well_before,
            ringing=sum(note.final is None for note in notes), up=sum(note.is_up for note in notes),
            lost=sum(is_lost(note) for note in notes), status=self._status, up_at={name: traffic.up_at(name) for name in ROLES},
            answered_at=answered, mute=self._mute,
        )  # fmt: skip

    # -- small things ----------------------------------------------------------------------------------------------------------

    def _enter(self, phase: str) -> None:
        self._phase = phase

    def _tell(self, text: str) -> None:
        self._display.tell(self.at_s, text)

    def _silence(self, mute: bool) -> None:
        self._mute = frozenset(PRIMARY_SBCS if mute else ())
        self._traffic.silence(PRIMARY_SBCS, mute)

    async def _pause(self, seconds: float, stop: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            return

    async def _until(self, reached: Callable[[], bool], stop: asyncio.Event) -> None:
        """Wait for something that must happen; going on without it shows in the summary."""
        until_s = self._loop.time() + WAIT_S
        while not reached() and not stop.is_set() and self._loop.time() < until_s:
            await asyncio.sleep(FRAME_S)


def summary(demo: Demo, traffic: Traffic) -> tuple[list[str], int]:
    """The figures at the end, and the exit code: 0 only if no call was lost."""
    notes = traffic.notes
    lost = [note for note in notes if is_lost(note) or not note.is_over]
    moved = sum(ROLES.get(traffic.sbc_of(note)) == "BCP" for note in notes)
    breaches = [*traffic.caller.ledger.breaches, *(b for sbc in traffic.sbcs.values() for b in sbc.ledger.breaches)]
    lines = [
        f"placed            {len(notes) + traffic.ended_well_before}",
        f"lost              {len(lost)}",
        f"moved to BCP      {moved}",
        f"kept up           {demo.stayed_up} of {len(demo.up_when_silent)} that were up when the primary fell silent",
        f"time to detect    {_seconds(demo.detected_s)}",
        f"first call at BCP {_seconds(demo.first_at_bcp_s)} after the silence began",
        f"all calls to BCP  {_seconds(demo.moved_s)}",
    ]
    lines += [f"lost: {note.call_id} final {note.final} ended by {note.ended_by or 'nobody'}" for note in lost[:10]]
    lines += [f"breach of the protocol: {breach}" for breach in breaches[:10]]
    incomplete = demo.detected_s is None or demo.first_at_bcp_s is None or demo.moved_s is None
    if incomplete:
        lines.append("the story is incomplete: the failover was not seen")
    return lines, EXIT_LOST if lost or breaches or incomplete else 0


async def conduct(*, tty: bool, keep: bool, folder: Path, console: Console) -> int:
    """Start everything, play, stop everything; returns the exit code."""
    where = free_addresses()
    write_plan(folder, where)
    traffic = Traffic(where)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await traffic.open()
    running: Running | None = None
    try:
        running = await loop.run_in_executor(None, lambda: start(folder, folder / "state", api="127.0.0.1:0"))
        token = (folder / "state" / "admin.token").read_text(encoding="utf-8").strip()
        if keep:
            _print_hints(console, folder, running.api)
        with Display(console, tty=tty) as display:
            demo = Demo(traffic, display, f"http://{running.api}", token)
            await demo.play(keep, stop)
        lines, code = summary(demo, traffic)
        console.print("\n".join(lines), highlight=False, soft_wrap=True)
        return code
    finally:
        await traffic.close()
        if running is not None:
            await loop.run_in_executor(None, running.stop)


def _print_hints(console: Console, folder: Path, api: str) -> None:
    console.print(
        f"From another terminal:\n  export SIPCTL_API=http://{api} SIPCTL_TOKEN_FILE={folder / 'state' / 'admin.token'}\n"
        "  sipctl status\n  sipctl history acme\n  sipctl failover acme --to bcp --reason 'to see it'\n"
        "  sipctl failback acme --now --reason 'seen'\n  sipctl sbc drain fra-a --reason maintenance\n",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.1f} s"


def main(arguments: list[str] | None = None) -> int:
    """Entry of `python -m sipctl.testing.demo`."""
    parser = argparse.ArgumentParser(prog="sipctl demo", description="A carrier, two tenants and a failover on loopback.")
    parser.add_argument("--no-tty", action="store_true", help="print lines instead of a live table")
    parser.add_argument("--keep", action="store_true", help="go on until Ctrl-C")
    options = parser.parse_args(arguments)
    console = Console()
    tty = console.is_terminal and not options.no_tty
    with tempfile.TemporaryDirectory(prefix="sipctl-demo-") as folder:
        try:
            return asyncio.run(conduct(tty=tty, keep=options.keep, folder=Path(folder), console=console))
        except SipctlError as error:
            print(f"sipctl demo: {error.detail}", file=sys.stderr)
            return error.exit_code
        except OSError as error:
            print(f"sipctl demo: {error}; it needs the addresses 127.20.0.0/16 of a Linux loopback", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
