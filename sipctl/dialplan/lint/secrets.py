"""Secrets in a plan's files: known by their look or by the name of their key, and hidden in every excerpt.

Every revision is kept for good and read by many, so a plan holds no password, key or token; where one is needed, it names
the file that does. Comments count: they are kept and shown like the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_LINE_CHARS: Final = 2_000  # what stands further behind is not looked at
_KEYED: Final = re.compile(
    r"(?i)(?:password|passwd|passphrase|secret|credential|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?token|access[_-]?token)"
    r"[\"']?\s*[:=]\s*[\"']?(?P<keyed>[^\s\"',;}\]#]{4,})"
)
_LOOKS: Final = re.compile(
    r"(?P<pem>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)"
    r"|(?P<cloud>\bAKIA[0-9A-Z]{16}\b)"
    r"|(?P<forge>\bgh[opsu]_[A-Za-z0-9]{36,})"
    r"|(?P<chat>\bxox[abprs]-[A-Za-z0-9-]{10,})"
    r"|(?P<signed>\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}[A-Za-z0-9_.-]*)"
    r"|(?i:\bbearer\s+)(?P<bearer>[A-Za-z0-9._~+/-]{16,}=*)"
    r"|(?:sips?:|[a-z]{2,12}://)[^\s:@/]{1,64}:(?P<uri>[^\s:@/\"']{1,64})@"
)
_TRIGGERS: Final = (
    "passw",
    "passphrase",
    "secret",
    "credential",
    "key",
    "token",
    "akia",
    "gho_",
    "ghp_",
    "ghs_",
    "ghu_",
    "xox",
    "eyj",
    "bearer",
    "@",
)
_ELSEWHERE: Final = re.compile(r"[/$<{~.*]|file:|.*\.(?:pem|key|token|txt|crt)$")  # names a place, or was hidden already


def secret_spans(line: str) -> Iterator[tuple[int, int]]:
    """Where in a line something stands that should not be there: (start, end), in order of the kinds looked for."""
    line = line[:MAX_LINE_CHARS]
    if not _is_suspect(line):
        return
    for match in _LOOKS.finditer(line):
        yield match.span(match.lastgroup or 0)
    for match in _KEYED.finditer(line):
        if not _ELSEWHERE.match(match["keyed"]):
            yield match.span("keyed")


def hide_secrets(line: str) -> str:
    """The line with a * for each character of a secret, so that columns stay what they are."""
    for start, end in tuple(secret_spans(line)):
        line = line[:start] + "*" * (end - start) + line[end:]
    return line


def secret_lines(data: bytes) -> Iterator[tuple[int, int]]:
    """(line, column) of the first secret of each line of a file, counted from 1."""
    text = data.decode("utf-8-sig", errors="replace")
    if not _is_suspect(text):
        return
    for number, line in enumerate(text.split("\n"), 1):
        first = min((start for start, _ in secret_spans(line)), default=-1)
        if first >= 0:
            yield number, first + 1


def _is_suspect(text: str) -> bool:
    """Whether a closer look is worth its time: every secret has one of these words in it or before it."""
    lowered = text.lower()
    return any(trigger in lowered for trigger in _TRIGGERS)
