"""What `check --explain` shows of a finding, and the small sound plan around each example.

An example shows only the sections it is about; they take the place of those of the plan around it (`AROUND`). A line
`# dialplans/other.yaml` begins another file; without one, a section goes to the folder it belongs to. So every example is a plan
that can be checked, and a test does: the bad one gives exactly its code, the good one gives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

EDGE_SECTIONS: Final = frozenset({"listen", "nodes", "sites", "trunks", "sbc_pairs", "tenants", "limits", "tls"})
AROUND: Final[Mapping[str, str]] = {
    "listen": '  outside: {bind: "udp:203.0.113.9:5060"}\n  inside: {bind: "udp:10.1.0.5:5060"}\n',
    "trunks": "  carrier: {listen: outside, sources: [198.51.100.0/28]}\n",
    "sbc_pairs": (
        "  fra:\n    listen: inside\n    sbcs:\n"
        '      fra-a: {uri: "sip:10.4.1.11:5060"}\n      fra-b: {uri: "sip:10.4.1.12:5060", priority: 2}\n'
        "  ams:\n    listen: inside\n    sbcs:\n"
        '      ams-a: {uri: "sip:10.5.1.11:5060"}\n      ams-b: {uri: "sip:10.5.1.12:5060", priority: 2}\n'
    ),
    "tenants": "  prod: {reached_by: [fra]}\n  bcp: {reached_by: [ams]}\n",
    "continuity_groups": "  acme: {primary: prod, bcp: bcp, failover: automatic}\n",
    "entry_points": '  sales: {group: acme, numbers: ["+4930901820"]}\n',
}
_FILE: Final = re.compile(r"^# ((?:sbc_configs|dialplans)/\S+)$", re.MULTILINE)
_SECTION: Final = re.compile(r"^([a-z_]+):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """Part of a plan.

    Args:
        text: what people read, and, unless `made` is given, the files themselves.
        made: files too large or too odd to be shown, instead.
        without: sections of the plan around it that are left out.
        ids: numeric ids already given, as `compile_plan` takes them.
        today: the day it is checked on, where that matters.
    """

    text: str
    made: Callable[[], dict[str, bytes]] | None = None
    without: tuple[str, ...] = ()
    ids: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    today: date | None = None

    def files(self) -> dict[str, bytes]:
        """The whole plan: the example and what stands around it."""
        own = self.made() if self.made is not None else _split(self.text)
        told = {name for data in own.values() for name in _SECTION.findall(data.decode(errors="replace")[:100_000])}
        for section, body in AROUND.items():
            if section not in told and section not in self.without:
                folder = "sbc_configs" if section in EDGE_SECTIONS else "dialplans"
                own[f"{folder}/around-{section.replace('_', '-')}.yaml"] = f"{section}:\n{body}".encode()
        return own


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a finding hurts, one plan that has it and one that does not."""

    why: str
    bad: Example
    good: Example


def explain(why: str, bad: str | Example, good: str | Example) -> Explanation:
    """An explanation whose examples are plain text, or more than that."""
    return Explanation(why, *(example if isinstance(example, Example) else Example(example) for example in (bad, good)))


def _split(text: str) -> dict[str, bytes]:
    parts = _FILE.split(text)
    files: dict[str, bytes] = {path: body.lstrip("\n").encode() for path, body in zip(parts[1::2], parts[2::2], strict=True)}
    lead = parts[0]
    starts = [match.start() for match in _SECTION.finditer(lead)] or [0]
    starts[0] = 0
    for start, end in zip(starts, [*starts[1:], len(lead)], strict=True):
        if lead[start:end].strip():
            name = _SECTION.search(lead, start)
            folder = "sbc_configs" if name is not None and name[1] in EDGE_SECTIONS else "dialplans"
            path = f"{folder}/example.yaml"
            files[path] = files.get(path, b"") + lead[start:end].encode()
    return files
