"""The compiler child: a plan's files go in, findings and a table image come out, and the memory it took goes with it.

A plan may be hostile or huge. It is read in a process of its own with limits, so that neither the controller's decisions nor a
router wait for it, and a plan that brings the compiler down brings down nothing else.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import msgspec

from sipctl.clock import unix_s
from sipctl.control.ports import CompileResult
from sipctl.engine.generation import replace_file
from sipctl.errors import EngineError, SnapshotError

COMPILE_TIMEOUT_S = 120.0
MAX_MEMORY_BYTES = 4 << 30
MAX_SAID_BYTES = 2000
NICE = 10
MAX_DIFF_LINES = 200  # of the difference that is kept with a revision; `sipctl diff` tells all of it
IMAGE_AGE_S = 3600.0  # images that no plan became are kept so long

Ids = Mapping[str, Mapping[str, int]]


class Request(msgspec.Struct, frozen=True):
    """What the child reads from stdin."""

    files: Mapping[str, bytes]
    revision: int
    ids: Ids
    node: str
    despite: tuple[str, ...]
    folder: str  # where the image goes
    against: str = ""  # image to compare with


def compile_child(source: BinaryIO, sink: BinaryIO) -> int:
    """The child's whole life: read a request, compile, write a CompileResult."""
    from sipctl.dialplan.compile import compile_plan  # only this child loads YAML, pydantic and phonenumbers

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    os.nice(NICE)  # calls come first
    request = msgspec.msgpack.decode(source.read(), type=Request)
    compiled = compile_plan(request.files, request.ids, revision=request.revision, node=request.node or None)
    errors = {finding.code for finding in compiled.findings if finding.severity == "error"}
    if "tests" in request.despite:
        errors.discard("test.failed")
    path = ""
    if compiled.image and not errors:
        # The image carries its own hash, which names it: the same plan is one file however often it is compiled.
        path = str(Path(request.folder) / f"{compiled.image[16:48].hex()}.table")
        replace_file(Path(path), compiled.image)
    findings = tuple(asdict(finding) for finding in compiled.findings)
    diff, restart = _differences(request.against, compiled.image) if path and request.against else ((), ())
    sink.write(msgspec.msgpack.encode(CompileResult(findings, path, compiled.ids, diff, restart)))
    return 0


def _differences(against: str, image: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the plan changes against a compiled one, and what of it needs a restart."""
    from sipctl.dialplan.diff import diff_plans
    from sipctl.dialplan.diff_text import entity_sentence, sentences
    from sipctl.routing.table import load_table

    try:
        before = load_table(Path(against).read_bytes())
    except (SnapshotError, OSError) as error:
        return (f"what it changes cannot be told: the live table cannot be read ({error})",), ()
    found = diff_plans(before, load_table(image))
    restart = tuple(entity_sentence(entity) for entity in found.entities if entity.needs_restart)
    return tuple(sentences(found, MAX_DIFF_LINES)), restart[:MAX_DIFF_LINES]


class Compiler:
    """Runs a compiler child for each plan (`control.ports.CompilePlan`)."""

    def __init__(self, folder: Path, node: str, program: Sequence[str] = ("-P", "-m", "sipctl.app")) -> None:
        self._folder = folder
        self._node = node
        self._program = program
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    async def __call__(
        self, files: Mapping[str, str], revision: int, ids: Ids, despite: tuple[str, ...] = (), against: str = ""
    ) -> CompileResult:
        """Compile; a plan with errors is a result.

        Raises: EngineError if the child dies or takes longer than COMPILE_TIMEOUT_S.
        """
        texts = {path: text.encode("utf-8", "surrogateescape") for path, text in files.items()}
        request = msgspec.msgpack.encode(Request(texts, revision, ids, self._node, despite, str(self._folder), against))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable, *self._program, "compiler", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            answer, said = await asyncio.wait_for(child.communicate(request), COMPILE_TIMEOUT_S)
        except TimeoutError as error:
            hint = "is the plan that large?"
            raise EngineError(f"the compiler was not done after {COMPILE_TIMEOUT_S:.0f} s", hint=hint) from error
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            last = said[-MAX_SAID_BYTES:].decode("utf-8", "replace").strip()
            raise EngineError(f"the compiler ended with {child.returncode}: {last or 'it said nothing'}")
        try:
            return msgspec.msgpack.decode(answer, type=CompileResult)
        except msgspec.MsgspecError as error:
            raise EngineError(f"the compiler's answer is not understood: {error}") from error

    def _sweep(self) -> None:
        """Images of plans that never became live pile up otherwise."""
        for path in self._folder.glob("*.table"):
            try:
                if unix_s() - path.stat().st_mtime > IMAGE_AGE_S:
                    path.unlink()
            except OSError:
                continue
