"""What all commands that change something share: their options, and how they are carried out.

A command of its own says only where its wish goes: a function of its arguments that returns a `Wish`. `as_write` makes the
command of it: with `--reason`, `--dry-run`, `--force`, `--timeout` and `--state`, sent and followed by `operate.carry_out`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from sipctl.cli.client import EXIT_USAGE, Client, segment, stop
from sipctl.cli.local_commands import LocalWish, give_local
from sipctl.cli.operate import carry_out, confirm
from sipctl.cli.options import (
    DEFAULT_TIMEOUT_S,
    BreakGlassOption,
    DryRunOption,
    ForceOption,
    ReasonOption,
    StateOption,
    TimeoutOption,
    YesOption,
    state_dir,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command asks of the API: a path and a body, to which reason, dry run and forced rules are added."""

    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    local: LocalWish | None = None  # given on the node itself instead, controller dead or not


def wish(*parts: str, **body: Any) -> Wish:
    """A wish to `/v1/PART/PART…`, each part one segment of the path whatever it holds."""
    return Wish("/v1/" + "/".join(segment(part) for part in parts), body)


def as_write(
    asks: Callable[..., Wish], *, forced: bool = True, rehearsed: bool = True, reason: str | None = None
) -> Callable[..., None]:
    """The command around a function that says what it wishes.

    Args:
        asks: its parameters become the command's own, its docstring the help.
        forced: takes `--force` and `--break-glass`, since a safety rule may forbid it; rehearsed: takes `--dry-run`, and asks
            before it changes anything where there is somebody to ask.
        reason: what is said when nobody gives one; None: somebody must.
    """
    own = inspect.signature(asks, eval_str=True).parameters
    common = [_option("reason", ReasonOption, inspect.Parameter.empty if reason is None else reason)]
    common += [_option("dry_run", DryRunOption, False), _option("yes", YesOption, False)] if rehearsed else []
    common += [_option("force", ForceOption, []), _option("break_glass", BreakGlassOption, False)] if forced else []
    common += [_option("timeout", TimeoutOption, DEFAULT_TIMEOUT_S), _option("state", StateOption, None)]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.values()] + common

    @wraps(asks)
    def command(
        *, reason: str, timeout: float, state: Path | None, dry_run: bool = False, yes: bool = False,
        force: list[str] | None = None, break_glass: bool = False, **given: Any,
    ) -> None:  # fmt: skip
        wished = asks(**given)
        if wished.local is not None:
            if break_glass:
                stop(EXIT_USAGE, "on the node itself there is no glass to break", "leave out --break-glass: --local asks nobody")
            give_local(state_dir(state), wished.local, reason=reason, dry_run=dry_run, force=force or ())
            return
        client = Client.find(state_dir(state))
        body = {**wished.body, "break_glass": True} if break_glass else wished.body
        if rehearsed and not dry_run and not yes:
            confirm(client, wished.path, body, reason=reason, force=force or ())
        carry_out(client, wished.path, body, reason=reason, dry_run=dry_run, force=force or (), timeout_s=timeout)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
