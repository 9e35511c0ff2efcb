"""Commands that need no controller: they go to the supervisor at STATE/run/local, or where none runs to STATE and the routers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sipctl.cli.audit_local import record_local
from sipctl.cli.client import EXIT_OK, EXIT_REFUSED, EXIT_TIMEOUT, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.output import complain, say
from sipctl.supervisor.ask_local import NobodyError, ask, give_alone
from sipctl.supervisor.local_wire import End, Give, Picture

_EXIT_OF: Final[Mapping[str, int]] = MappingProxyType(
    {"done": EXIT_OK, "refused": EXIT_REFUSED, "invalid": EXIT_USAGE, "late": EXIT_TIMEOUT}
)


@dataclass(frozen=True, slots=True)
class LocalWish:
    """An order for groups, without its reason: exactly one of `group`, `tenant` (a pattern) and `every` is set."""

    kind: str  # "failover" | "failback"
    to: str
    group: str = ""
    tenant: str = ""
    every: bool = False


def give_local(root: Path, wished: LocalWish, *, reason: str, dry_run: bool, force: Sequence[str]) -> None:
    """Give an order on this node and say what became of it; ends the command with its code."""
    give = Give(wished.kind, wished.to, reason, wished.group, wished.tenant, wished.every, tuple(force), dry_run)
    try:
        answer = ask(root, give)
    except NobodyError as nobody:
        complain(f"{nobody.detail}: STATE and the routers that live are turned to instead")
        answer = give_alone(root, give)
    if isinstance(answer, End):
        record_local(root, give, answer)
    tell(answer)


def tell(answer: Picture | End) -> None:
    """The last word on stdout, or on stderr with its hint; ends the command unless all is well."""
    assert isinstance(answer, End), "an order is answered by its end"
    code = _EXIT_OF.get(answer.status, EXIT_UNHEALTHY)
    if code != EXIT_OK:
        stop(code, f"{answer.text}{f' (rule {answer.rule})' if answer.rule else ''}", answer.hint)
    say(answer.text)
