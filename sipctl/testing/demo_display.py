"""What the demo shows: a live table in a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

MAX_STORY_LINES: Final = 14
ROLES: Final = {"fra-a": "primary", "fra-b": "primary", "ams-a": "BCP", "ams-b": "BCP"}
COLOURS: Final = {"in-service": "green", "out-of-service": "red", "unknown": "yellow"}


@dataclass(slots=True)
class Picture:
    """Everything one frame shows."""

    at_s: float = 0.0
    phase: str = ""
    placed: int = 0
    ringing: int = 0
    up: int = 0
    lost: int = 0
    status: dict[str, Any] = field(default_factory=dict)  # body of GET /v1/status, {} while there is none
    up_at: dict[str, int] = field(default_factory=dict)
    answered_at: dict[str, int] = field(default_factory=dict)
    mute: frozenset[str] = frozenset()


class Display:
    """Shows pictures and the story; `live` is None where the output is no terminal."""

    def __init__(self, console: Console, *, tty: bool) -> None:
        self._console = console
        self._story: list[str] = []
        self._live = Live(console=console, refresh_per_second=8, transient=False) if tty else None
        self._shown_s = -1.0

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, at_s: float, text: str) -> None:
        """One sentence of the story."""
        line = f"{at_s:5.1f} s  {text}"
        if self._live is None:
            self._console.print(line, highlight=False, soft_wrap=True)
        else:
            self._story = [*self._story, line][-MAX_STORY_LINES:]

    def show(self, picture: Picture) -> None:
        """One frame; without a terminal one line a second."""
        if self._live is not None:
            self._live.update(Group(_table(picture), _group_line(picture), Text("\n".join(self._story))))
        elif picture.at_s - self._shown_s >= 1.0:
            self._shown_s = picture.at_s
            self._console.print(_plain_line(picture), highlight=False, soft_wrap=True)


def _table(picture: Picture) -> Table:
    table = Table(title=f"sipctl demo · {picture.at_s:.0f} s · {picture.phase}", title_justify="left", expand=False)
    for heading in ("SBC", "tenant", "state", "answered", "up now"):
        table.add_column(heading, justify="right" if heading in ("answered", "up now") else "left")
    for name, role in ROLES.items():
        state = _operating(picture, name)
        shown = f"{state}{' (silent)' if name in picture.mute else ''}"
        cells = (str(picture.answered_at.get(name, 0)), str(picture.up_at.get(name, 0)))
        table.add_row(name, role, Text(shown, style=COLOURS.get(state, "")), *cells)
    return table


def _group_line(picture: Picture) -> Text:
    counts = f"calls: {picture.placed} placed, {picture.ringing} ringing, {picture.up} up, {picture.lost} lost"
    return Text(f"group acme: {_group(picture)}\n{counts}\n", style="bold red" if picture.lost else "bold")


def _plain_line(picture: Picture) -> str:
    states = " ".join(f"{name}={_operating(picture, name)}/{picture.up_at.get(name, 0)}" for name in ROLES)
    counts = f"placed={picture.placed} up={picture.up} lost={picture.lost}"
    return f"{picture.at_s:5.1f} s  acme={_group(picture)} {states} {counts}"


def _operating(picture: Picture, name: str) -> str:
    return str(picture.status.get("sbcs", {}).get(name, {}).get("operating", "unknown"))


def _group(picture: Picture) -> str:
    group = picture.status.get("groups", {}).get("acme")
    return f"{group['state']} ({group['bcp_percent']} % to BCP)" if group else "unknown"
