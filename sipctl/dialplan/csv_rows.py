"""The lines of a CSV file, handed to its reader no longer than a row may be.

A reader keeps a whole row in memory, a list of cells. One line of commas, or a quoted cell that never ends, would so cost many
times the file's size before anybody could say that it is no row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Final

MAX_ROW_CHARS: Final = 200_000  # of one row, which may stand on several lines; exports have a few hundred
HINT: Final = "look at the line ends and the quotes here"


class RowTooLongError(csv.Error):
    """A row is longer than any that means something."""


class RowLines:
    """Counts what a reader took since `taken` was set to 0, which whoever asks for the rows does after each."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0

    def of(self, source: Iterable[str]) -> Iterator[str]:
        """The lines of a source.

        Raises: RowTooLongError instead of the line with which a row passes MAX_ROW_CHARS.
        """
        for line in source:
            self.taken += len(line)
            if self.taken > MAX_ROW_CHARS:
                raise RowTooLongError(f"this row is longer than {MAX_ROW_CHARS:,} characters")
            yield line
