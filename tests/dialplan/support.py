"""A small sound plan as files, and what is found when a part of it is replaced.

In a faulty line the comment `# ! CODE` says which finding is expected there; several codes are separated by spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sipctl.dialplan.compile import Compiled, compile_plan

EDGE = "sbc_configs/edge.yaml"
PLAN = "dialplans/plan.yaml"
CSV = "dialplans/numbers.csv"

SOUND: Mapping[str, str] = {
    EDGE: """\
listen:
  outside: {bind: "udp:203.0.113.9:5060"}
  inside: {bind: "udp:10.1.0.5:5060"}
trunks:
  one:
    listen: outside
    sources: [198.51.100.0/28]
  pbx: {sources: [192.0.2.1], called_format: exact}
sbc_pairs:
  fra:
    listen: inside
    sbcs:
      fra-a: {uri: "sip:10.4.1.11:5060"}
      fra-b: {uri: "sip:10.4.1.12:5060", priority: 2}
  ams:
    sbcs:
      ams-a: {uri: "sip:10.5.1.11:5060"}
      ams-b: {uri: "sip:10.5.1.12:5060"}
tenants:
  prod: {reached_by: [fra]}
  bcp: {reached_by: ams}
limits: {max_call_age: 12h}
""",
    PLAN: """\
continuity_groups:
  acme:
    primary: prod
    bcp: bcp
    failover: automatic
entry_points:
  sales:
    group: acme
    numbers: ["+4930901820", "+4930901821XX"]
  support:
    group: acme
    numbers: ["+4930901900", "5501"]
    trunks: [one, pbx]
tests:
  - name: sales goes to the primary
    call: "+4930901820"
    trunk: one
    expect: {entry_point: sales, tenant: prod}
""",
}

Finding = tuple[str, str, int]  # (path, code, line)


def plan(*swaps: tuple[str, str], files: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """The sound plan with fragments replaced, wherever they stand exactly once, and files added or replaced."""
    texts = dict(SOUND)
    for old, new in swaps:
        homes = [path for path, text in texts.items() if text.count(old) == 1]
        assert len(homes) == 1, f"{old!r} stands in {homes}"
        texts[homes[0]] = texts[homes[0]].replace(old, new)
    return {path: text.encode() for path, text in {**texts, **(files or {})}.items()}


def compiled(*swaps: tuple[str, str], files: Mapping[str, str] | None = None) -> Compiled:
    return compile_plan(plan(*swaps, files=files), {}, revision=1)


def expected(files: Mapping[str, bytes]) -> list[Finding]:
    """What the comments in the files announce."""
    found: list[Finding] = []
    for path, data in files.items():
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
            mark = re.search(r"# ! ([a-z0-9. -]+)$", line)
            if mark:
                found += [(path, code, number) for code in mark[1].split()]
    return sorted(found)


def found(result: Compiled) -> list[Finding]:
    return sorted((finding.path, finding.code, finding.line) for finding in result.findings)
