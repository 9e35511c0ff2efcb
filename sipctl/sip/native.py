"""The scans of `_scan.c` where they were built (decision 0021); else stand-ins that leave every message to Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

Head = tuple[bytes, bytes, bytes, int, list[bytes], dict[int, int], int, bytes]

if TYPE_CHECKING:
    from sipctl.sip._scan import Scanner, light_response, usual_tag, usual_via
else:
    try:
        from sipctl.sip._scan import Scanner, light_response, usual_tag, usual_via
    except ImportError:

        class Scanner:
            def __init__(
                self, exact: Mapping[bytes, int], lower: Mapping[bytes, int], singles: Sequence[int], content_length: int
            ) -> None:
                """Nothing to learn."""

            def head(self, _data: bytes) -> Head | None:
                return None

        def light_response(_data: bytes) -> tuple[int, bytes, bytes, int, int] | None:
            return None

        def usual_via(_line: bytes, _source_host: str, _source_port: int) -> tuple[bytes, bytes, int] | None:
            return None

        def usual_tag(_line: bytes) -> bytes | None:
            return None


__all__ = ["Head", "Scanner", "light_response", "usual_tag", "usual_via"]
