"""Processes replaced one by one while calls go on: for a new build of sipctl, or to shake off an old one.

Routers first, each through a spare of the new build: it boots beside the old one, which then stops reading and ends, and takes
the slot with everything in it; what arrives meanwhile waits in the sockets. The spare of the old build stays until every slot has
changed hands, and takes a slot that the new one fails to take. Then the desk, the controller, and last the supervisor itself.

The first part that does not come up ends it: the build of before takes that part again, and everything not yet replaced goes on
as it was. Builds next to each other understand each other's frames, so a node may stand so for as long as it takes to look.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator
from typing import IO

from sipctl.engine.embedded import wire
from sipctl.supervisor.children import BOOT_TIMEOUT_S, Child
from sipctl.supervisor.crew import STOP_TIMEOUT_S, Crew, Slot
from sipctl.supervisor.door import Client
from sipctl.supervisor.local_wire import End, Renew, Said

PARTS = ("routers", "desk", "controller", "supervisor")
CHECK_S = 60.0  # for the new build to import all of itself
TAKE_S = 15.0  # for a spare to take a slot
SOLO_S = 120.0  # for a desk or a controller to work again: it may have a million numbers to load
MAX_SAID_BYTES = 2000


class Stuck(Exception):  # noqa: N818 - carries the reason why a part did not come up
    """A part did not come up."""


class Rolling:
    """One replacement at a time.

    Args:
        story: tells the log and the history.
        re_execute: makes the supervisor the new build's, in place, and returns only if that failed, with the reason.
    """

    def __init__(
        self, crew: Crew, program: tuple[str, ...], story: Callable[[str, str, str], None], re_execute: Callable[[Client], str]
    ) -> None:
        self._crew = crew
        self._program = program
        self._story = story
        self._re_execute = re_execute
        self._now_s = 0.0
        self._client: Client | None = None
        self._steps: Generator[None, None, None] | None = None
        self._actor = ""
        self._reason = ""
        self._done: list[str] = []

    def begin(self, client: Client, renew: Renew, now_s: float) -> None:
        """Start, or say at once why not."""
        self._now_s = now_s
        wrong = self._wrong(renew)
        if wrong is not None:
            client.end(wrong)
            return
        self._client, self._actor, self._reason, self._done = client, client.actor, renew.reason.strip(), []
        self._story(f"{client.actor}: {', '.join(renew.parts)} are replaced one by one", client.actor, self._reason)
        self._steps = self._renew(renew)

    def turn(self, now_s: float) -> None:
        """One look at where it stands."""
        self._now_s = now_s
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._end("done", f"replaced: {', '.join(self._done)}")
        except Stuck as stuck:
            before = f"; replaced before: {', '.join(self._done)}" if self._done else "; nothing was replaced"
            self._end("failed", f"{stuck}{before}")

    def stop(self) -> None:
        """The supervisor ends: so does this, wherever it stands."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def _wrong(self, renew: Renew) -> End | None:
        crew = self._crew
        if self._steps is not None:
            return End("refused", "another replacement is on its way", "one-at-a-time", "wait for its end: sipctl status --local")
        if not renew.reason.strip():
            return End("invalid", "a change needs a reason", hint="--reason TEXT")
        if not renew.parts or any(part not in PARTS for part in renew.parts):
            return End("invalid", f"one or more of {', '.join(PARTS)}")
        if renew.python and not os.access(renew.python, os.X_OK):
            return End("invalid", f"{renew.python} is no program that can be run", hint="such as /opt/sipctl-2/bin/python")
        idle = [slot.router_name for slot in crew.slots if slot.router is None or not slot.router.is_ready]
        if idle or not crew.spares:
            hint = "sipctl status --local"
            return End("refused", f"{', '.join(idle) or 'the spare'} does not work now: heal first", "node-not-whole", hint)
        return None

    def _end(self, status: str, text: str) -> None:
        assert self._client is not None
        self._steps = None
        self._story(text, self._actor, self._reason)
        hint = "the log tells more: STATE/log/supervisor.log" if status != "done" else ""
        self._client.end(End(status, text, hint=hint))
        self._client = None

    def _tell(self, what: str) -> None:
        assert self._client is not None
        self._done.append(what)
        self._client.say(Said(f"{what} replaced"))
        self._story(f"{what} replaced", self._actor, self._reason)

    # -- the steps -------------------------------------------------------------------------------------------------------------

    def _renew(self, renew: Renew) -> Generator[None, None, None]:
        crew = self._crew
        old, new = crew.python, renew.python or crew.python
        yield from self._check(new)
        if "routers" in renew.parts:
            yield from self._routers(new)
        crew.python = new
        for role in ("desk", "controller"):
            if role in renew.parts and role in crew.solo:
                try:
                    yield from self._solo(role)
                except Stuck:
                    crew.python = old
                    child = crew.solo.get(role)
                    if child is not None:
                        child.kill()
                    crew.backoff[role].at_s = 0.0
                    raise
        if "supervisor" in renew.parts:
            assert self._client is not None
            self._client.say(Said("the supervisor goes on as the new build"))
            text = self._re_execute(self._client)
            crew.python = old
            raise Stuck(f"the supervisor does not become the new build: {text}")

    def _check(self, python: str) -> Generator[None, None, None]:
        """Can the new build import all of itself? Nothing is touched before it can."""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    [python, *self._program, "check"], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
                )
            except OSError as error:
                raise Stuck(f"the new build does not start: {error}") from error
            until_s = self._now_s + CHECK_S
            try:
                while process.poll() is None:
                    if self._now_s > until_s:
                        raise Stuck(f"the new build does not start within {CHECK_S:.0f} s")
                    yield
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if process.returncode:
                raise Stuck(f"the new build does not start: {_last_words(said)}")

    def _routers(self, python: str) -> Generator[None, None, None]:
        crew = self._crew
        old_spares = list(crew.spares)
        for slot in crew.slots:
            spare = yield from self._new_spare(python)
            self._must_fit(slot, spare)
            yield from self._hand_over(slot, spare)
            self._tell(f"router {slot.router_name}")
        yield from self._new_spare(python)
        for spare in old_spares:
            if spare in crew.spares:
                crew.dismiss(spare, "replaced by a new one")
        until_s = self._now_s + STOP_TIMEOUT_S
        while left := [spare for spare in old_spares if spare in crew.spares]:
            if self._now_s > until_s:
                for spare in left:
                    spare.kill()
            yield
        self._tell("spare")

    def _new_spare(self, python: str) -> Generator[None, None, Child]:
        spare = self._crew.start_spare(self._now_s, python)
        if spare is None:
            raise Stuck("a new router cannot be started")
        until_s = self._now_s + BOOT_TIMEOUT_S
        while not spare.is_booted:
            if spare not in self._crew.spares or self._now_s > until_s:
                spare.kill()
                raise Stuck("a new router does not start: its last words are in STATE/log/router.stderr")
            yield
        return spare

    def _must_fit(self, slot: Slot, spare: Child) -> None:
        """A build that lays out its calls otherwise cannot go on with them."""
        if not self._crew.fits(spare, slot):
            was, now = f"{self._crew.layout(slot)} {self._crew.board_layout()}".strip(), spare.layout
            self._crew.dismiss(spare, "its build lays out calls otherwise")
            raise Stuck(
                f"the new build keeps its calls as {now}, the old one as {was}: it cannot go on with them, and the old one "
                "stays; drain the node first, then stop sipctl and run the new build"
            )

    def _hand_over(self, slot: Slot, spare: Child) -> Generator[None, None, None]:
        old = slot.router
        if old is None:
            raise Stuck(f"router {slot.router_name} died just now")
        slot.successor = spare
        old.is_stopping = True
        old.send(wire.Stop("replaced by a new one"))
        until_s = self._now_s + STOP_TIMEOUT_S
        while slot.router is old:
            if self._now_s > until_s:  # its calls stand in the slot's memory whichever way it ends
                old.kill()
            yield
        until_s = self._now_s + TAKE_S
        while slot.router is not spare or not spare.is_ready:
            if self._now_s > until_s or (slot.router is not spare and spare not in self._crew.spares):
                slot.successor = None
                spare.kill()
                raise Stuck(f"the new router does not take slot {slot.number}: a router of the old build goes on in it")
            yield

    def _solo(self, role: str) -> Generator[None, None, None]:
        crew = self._crew
        old = crew.solo[role]
        old.is_stopping = True
        old.send(wire.Stop("replaced by a new one"))
        until_s = self._now_s + STOP_TIMEOUT_S
        while crew.solo.get(role) is old:
            if self._now_s > until_s:
                old.kill()
            yield
        crew.backoff[role].failures, crew.backoff[role].at_s = 0, 0.0
        until_s = self._now_s + SOLO_S
        while not ((child := crew.solo.get(role)) is not None and child.is_ready):
            if self._now_s > until_s or crew.backoff[role].failures > 1:
                raise Stuck(f"the new {role} does not come up: the old build is started again; STATE/log/{role}.stderr tells why")
            yield
        self._tell(role)


def _last_words(said: IO[bytes]) -> str:
    with contextlib.suppress(OSError):
        said.seek(0, os.SEEK_END)
        said.seek(max(said.tell() - MAX_SAID_BYTES, 0))
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "it said nothing"
