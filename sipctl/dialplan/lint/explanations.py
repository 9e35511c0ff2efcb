"""Every finding explained: why it hurts, and a bad and a good plan. A test proves each of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sipctl.dialplan.lint.example import Example, Explanation
from sipctl.dialplan.lint.explain_edge import EDGE
from sipctl.dialplan.lint.explain_files import FILES
from sipctl.dialplan.lint.explain_plan import PLAN
from sipctl.dialplan.lint.explain_treatments import TREATMENTS
from sipctl.dialplan.report import CODES, is_allowable

EXPLANATIONS: Final[Mapping[str, Explanation]] = MappingProxyType({**FILES, **EDGE, **PLAN, **TREATMENTS})


def explanation_lines(code: str) -> list[str]:
    """What `check --explain CODE` prints; the code must be one of CODES.

    Raises: KeyError.
    """
    severity, meaning = CODES[code]
    told = EXPLANATIONS[code]
    lines = [f"{code} ({severity}): {meaning}", "", told.why, "", "Bad:", *_shown(told.bad), "", "Good:", *_shown(told.good), ""]
    if is_allowable(code):
        lines.append(f"To let one stand, write behind it or on the line above: # sipctl: allow {code} -- why")
    elif severity == "error":
        lines.append("It stops the plan, and no comment lets it stand.")
    else:
        lines.append("No comment lets it stand.")
    return lines


def _shown(example: Example) -> list[str]:
    return [f"    {line}" for line in example.text.rstrip("\n").split("\n")]
