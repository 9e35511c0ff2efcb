"""Two plans over the same calls, a process for each: the new one in a child, the old one here, compared chunk by chunk.

Both read the same sorted chains, so a call's place in a chunk is all that has to be sent: the child sends the codes of a chunk
and what new codes mean; the pipe's size holds it back when this side is slower. The child compiles its plan while this process
reads the records. It is ended by its pid, whatever happens here.
"""

from __future__ import annotations

import gc
import multiprocessing
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from sipctl.cli.replay_input import read_sorted
from sipctl.cli.replay_plans import Source
from sipctl.dialplan.replay import Meter, Outcome, Replayer
from sipctl.dialplan.replay_report import Comparison, Logged
from sipctl.dialplan.replay_rows import Row
from sipctl.dialplan.replay_scenes import Scene, check_scenes
from sipctl.errors import EngineError, PlanError, SipctlError

ENDING_S = 5.0


class Judge(Protocol):
    """One side of a replay."""

    outcomes: list[Outcome]

    def judge(self, rows: Sequence[Row]) -> array[int]: ...


@dataclass(slots=True)
class Side:
    """What one side said, once all is read."""

    outcomes: list[Outcome]
    meters: list[Meter]
    out_of_order: int = 0
    early_ends: int = 0


class ChildError(EngineError):
    """The child died, or its plan does not compile."""

    code = "replay.child"
    exit_code = 2


class NewSide:
    """The child that replays the new plan."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.outcomes: list[Outcome] = []

    def begin(self, chains: Sequence[Path]) -> None:
        self._send(tuple(chains))

    def ready(self, label: str) -> Any:
        """Wait until its plan is compiled; the table's topology. Raises: PlanError, ChildError, SipctlError."""
        return self._receive(label)

    def codes(self, label: str) -> array[int]:
        """Of the next chunk."""
        packed, more = self._receive(label)
        self.outcomes += more
        codes: array[int] = array("I")
        codes.frombytes(packed)
        return codes

    def end(self, label: str) -> Side:
        """What only the end knows."""
        meters, out_of_order, early_ends = self._receive(label)
        return Side(self.outcomes, meters, out_of_order, early_ends)

    def _send(self, what: Any) -> None:
        try:
            self._connection.send(what)
        except OSError as error:
            raise ChildError("the process of the new plan has died") from error

    def _receive(self, label: str) -> Any:
        try:
            said = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ChildError(f"the process of {label} has died", hint="is there memory enough for both plans?") from error
        if isinstance(said, SipctlError):
            raise said
        return said


@contextmanager
def new_side(source: Source, scenes: Sequence[Scene]) -> Iterator[NewSide]:
    """Start the child; it is gone when the block is left."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_replay, args=(theirs, ours, source, tuple(scenes)), daemon=True)
    child.start()
    theirs.close()
    try:
        yield NewSide(ours)
    finally:
        ours.close()
        child.join(ENDING_S)
        if child.is_alive():
            child.kill()
            child.join()


@contextmanager
def without_collector() -> Iterator[None]:
    """Rows and codes make no cycles, and looking for some takes a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _replay(connection: Connection, theirs: Connection, source: Source, scenes: tuple[Scene, ...]) -> None:
    """The child's whole life."""
    theirs.close()
    try:
        try:
            table = source.table()
            check_scenes(table.topology, scenes)
            replayer = Replayer(table, scenes)
        except SipctlError as error:
            connection.send(_portable(error))
            return
        connection.send(table.topology)
        known = 0
        with without_collector():
            for rows in read_sorted(connection.recv()):
                codes = replayer.judge(rows)
                connection.send((codes.tobytes(), replayer.outcomes[known:]))
                known = len(replayer.outcomes)
        connection.send((replayer.meters(), replayer.out_of_order, replayer.early_ends))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # whoever asked is gone
    finally:
        connection.close()


def _portable(error: SipctlError) -> SipctlError:
    """The error as it can be sent: one with findings as it is, any other as its text."""
    if isinstance(error, PlanError):
        return error
    return ChildError(error.detail)


def compare(
    old: Replayer | Logged, new: NewSide, chains: Sequence[Path], label: str, on_rows: Callable[[int], None]
) -> tuple[Comparison, Side, Side]:
    """Run both sides to the end."""
    comparison = Comparison()
    new.begin(chains)
    for rows in read_sorted(chains):
        codes = old.judge(rows)
        comparison.add(codes, new.codes(label), rows, (old.outcomes, new.outcomes))
        on_rows(len(rows))
    if isinstance(old, Replayer):
        mine = Side(old.outcomes, old.meters(), old.out_of_order, old.early_ends)
    else:
        mine = Side(old.outcomes, [])
    return comparison, mine, new.end(label)
