"""What was gathered as files of a plan, ready to be checked and written; a fresh folder gets all that a plan needs.

What the source does not know is filled in so that the plan compiles, and marked: `REPLACE` stands in a comment on each such
line, and its addresses are of the ranges kept for documentation (RFC 5737), to which nothing is ever sent by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sipctl.dialplan.importers.gathered import Gathered, name_of

BCP: Final = "imported-bcp"
PRIMARY: Final = "imported-primary"

_TRUNKS: Final = """\
trunks:
  carrier:
    sources: [198.51.100.1]               # REPLACE: where the carrier calls from
"""


def files(gathered: Gathered, group: str, known: Mapping[str, bytes]) -> dict[str, str]:
    """Path → text of every file to write.

    Args:
        group: an existing continuity group for every entry point; "": groups are made of the source's SBCs, or of placeholders.
        known: files of the plan that is there already.
    """
    kind = gathered.kind
    made: dict[str, str] = {}
    has_edge = any(path.startswith("sbc_configs/") for path in known)
    groups = {} if group else _groups(gathered)
    edge = _edge(gathered, groups, has_edge, needs_plan=not known and not gathered.numbers)
    if edge:
        made[f"sbc_configs/imported-{kind}.yaml"] = _head(gathered) + edge
    entry_points = gathered.entry_points()
    if entry_points or not any(path.startswith("dialplans/") for path in known):
        made[f"dialplans/imported-{kind}.yaml"] = _head(gathered) + _plan(gathered, group, groups)
    if entry_points:
        made[f"dialplans/numbers/imported-{kind}.csv"] = _csv(gathered)
    return made


def _head(gathered: Gathered) -> str:
    left = f"; {gathered.left_out} things of the source are not in it" if gathered.left_out else ""
    return f"# Written by `sipctl import {gathered.kind}`{left}.\n\n"


def _groups(gathered: Gathered) -> dict[str, str]:
    """Groups to make: name → its primary tenant, which is named like the pair."""
    found = {pair: pair for pair in dict.fromkeys(gathered.groups.values()) if pair in gathered.pairs}
    if any(gathered.groups.get(name) not in gathered.pairs for name in gathered.entry_points()) or not found:
        found[name_of(f"imported-{gathered.kind}")] = PRIMARY
    return found


def _edge(gathered: Gathered, groups: Mapping[str, str], has_edge: bool, needs_plan: bool) -> str:
    parts = [] if has_edge else [_listen(gathered), _TRUNKS]
    pairs = [_pair(name, [(sbc.uri, sbc.priority, sbc.weight) for sbc in sbcs]) for name, sbcs in gathered.pairs.items()]
    tenants = [f"  {name}: {{reached_by: [{name}]}}\n" for name in gathered.pairs]
    placeholders = [PRIMARY] if PRIMARY in groups.values() else []
    placeholders += [BCP] if groups else []
    for at, name in enumerate(placeholders):
        uris = [(f"sip:192.0.2.{at * 16 + member}:5060;transport=udp", member, 100) for member in (1, 2)]
        pairs.append(_pair(name, uris, "   # REPLACE"))
        tenants.append(f"  {name}: {{reached_by: [{name}]}}\n")
    if pairs:
        parts += ["sbc_pairs:\n" + "".join(pairs), "tenants:\n" + "".join(tenants)]
    return "\n".join(parts)


def _listen(gathered: Gathered) -> str:
    """Sockets that speak what the SBCs speak, so that the plan compiles."""
    binds = ["udp:127.0.0.1:5060"]
    for sbc in (sbc for sbcs in gathered.pairs.values() for sbc in sbcs):
        transport = sbc.uri.rpartition("=")[2]
        bind = f"{transport}:{'[::1]' if '[' in sbc.uri else '127.0.0.1'}:5060"
        if bind not in binds:
            binds.append(bind)
    written = f'"{binds[0]}"' if len(binds) == 1 else "[" + ", ".join(f'"{bind}"' for bind in binds) + "]"
    return f"listen:\n  outside: {{bind: {written}}}   # REPLACE: the addresses carriers call\n"


def _pair(name: str, sbcs: list[tuple[str, int, int]], mark: str = "") -> str:
    shares = len({priority for _, priority, _ in sbcs}) < len(sbcs)
    strategy = "    strategy: load-share\n" if shares else ""
    lines = "".join(
        f'      {name}-{number}: {{uri: "{uri}", priority: {priority}, weight: {weight}}}{mark}\n'
        for number, (uri, priority, weight) in enumerate(sbcs, 1)
    )
    return f"  {name}:\n{strategy}    sbcs:\n{lines}"


def _plan(gathered: Gathered, group: str, groups: Mapping[str, str]) -> str:
    parts = []
    if groups:
        made = "".join(
            f"  {name}:\n    primary: {primary}\n    bcp: {BCP}                     # REPLACE: the tenant that takes over\n"
            "    failover: manual\n"
            for name, primary in groups.items()
        )
        parts.append("continuity_groups:\n" + made)
    rest = next((name for name, primary in groups.items() if primary == PRIMARY), "")
    names = gathered.entry_points()
    if names:
        lines = "".join(
            f"  {name}: {{group: {group or _group_of(gathered, groups, name, rest)}}}   # {count:,} numbers\n"
            for name, count in names.items()
        )
        parts.append("entry_points:\n" + lines)
        parts.append(f"number_files:\n  - file: numbers/imported-{gathered.kind}.csv\n")
    return "\n".join(parts) if parts else "entry_points: {}\n"


def _group_of(gathered: Gathered, groups: Mapping[str, str], entry_point: str, rest: str) -> str:
    pair = gathered.groups.get(entry_point, "")
    return pair if pair in groups else rest


def _csv(gathered: Gathered) -> str:
    numbers = gathered.numbers.values()
    columns = ["number", "entry_point"]
    columns += ["called_at.primary"] if any(number.primary for number in numbers) else []
    columns += ["called_at.bcp"] if any(number.bcp for number in numbers) else []
    lines = [",".join(columns)]
    for number in numbers:
        cells = {"number": number.expression, "entry_point": number.entry_point, "called_at.primary": number.primary}
        cells["called_at.bcp"] = number.bcp
        lines.append(",".join(cells[column] for column in columns))
    return "\n".join(lines) + "\n"
