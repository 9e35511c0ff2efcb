"""Plans for tests on sockets: both folders, written for a network of loopback addresses.

A plan is kept as the two YAML documents (dicts), so that a test changes what it is about and nothing else:
`plan.sbcs["sbc_pairs"]["fra"]["shared_dialogs"] = True`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import SIP_PORT, Net

# Who lives where in a Net.
OUTSIDE, INSIDE = 1, 2
CARRIER, OTHER_CARRIER, STRANGER = 11, 12, 99
PRIMARY_SBCS, BCP_SBCS = (21, 22), (31, 32)
NUMBER = "+4930901820"
BENCH_NUMBER = "+493099887766"


@dataclass(slots=True)
class Plan:
    """What goes into `sbc_configs/` and `dialplans/`, and the CSV files beside the latter."""

    sbcs: dict[str, Any]
    dialplan: dict[str, Any]
    csv: dict[str, str]

    def write(self, folder: Path) -> Path:
        """Write both folders below `folder`; a second call replaces what the first wrote."""
        for name, document in (("sbc_configs", self.sbcs), ("dialplans", self.dialplan)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "lab.yaml").write_text(_yaml(document), encoding="utf-8")
        for name, text in self.csv.items():
            (folder / "dialplans" / name).write_text(text, encoding="utf-8")
        return folder

    def files(self) -> dict[str, str]:
        """The same as POST /v1/revisions takes it."""
        files = {"sbc_configs/lab.yaml": _yaml(self.sbcs), "dialplans/lab.yaml": _yaml(self.dialplan)}
        return files | {f"dialplans/{name}": text for name, text in self.csv.items()}

    def copy(self) -> Plan:
        return copy.deepcopy(self)


def a_pair(net: Net, name: str, hosts: tuple[int, ...], site: str, **settings: Any) -> dict[str, Any]:
    """An SBC pair whose SBCs are called NAME-a, NAME-b …, first come first."""
    transport = settings.pop("transport", "udp")
    sbcs = {
        f"{name}-{letter}": {"uri": f"sip:{net[host]}:{SIP_PORT};transport={transport}", "priority": place}
        for place, (host, letter) in enumerate(zip(hosts, "abcdef", strict=False), start=1)
    }
    return {"site": site, "listen": "inside-tcp" if transport == "tcp" else "inside", "sbcs": sbcs, **settings}


def a_plan(net: Net, *, tcp: bool = False, numbers: tuple[str, ...] = (NUMBER, BENCH_NUMBER)) -> Plan:
    """One carrier, a primary pair and a BCP pair, one group with automatic failover and a short hold-off."""
    listen: dict[str, Any] = {
        "outside": {"bind": f"udp:{net[OUTSIDE]}:{SIP_PORT}"},
        "inside": {"bind": f"udp:{net[INSIDE]}:{SIP_PORT}"},
    }
    if tcp:
        listen["outside-tcp"] = {"bind": f"tcp:{net[OUTSIDE]}:{SIP_PORT}"}
        listen["inside-tcp"] = {"bind": f"tcp:{net[INSIDE]}:{SIP_PORT}"}
    sbcs: dict[str, Any] = {
        "listen": listen,
        "sites": {"frankfurt": {"fallback": ["amsterdam"]}, "amsterdam": {}},
        "trunks": {
            "carrier": {
                "site": "frankfurt",
                "listen": ["outside", "outside-tcp"] if tcp else "outside",
                "sources": [f"{net[CARRIER]}/32", f"{net[OTHER_CARRIER]}/32"],
                "trust": ["p-asserted-identity"],
            }
        },
        "sbc_pairs": {
            "fra": a_pair(net, "fra", PRIMARY_SBCS, "frankfurt"),
            "ams": a_pair(net, "ams", BCP_SBCS, "amsterdam"),
        },
        "tenants": {"acme-prod": {"reached_by": ["fra"]}, "acme-bcp": {"reached_by": ["ams"]}},
    }
    dialplan: dict[str, Any] = {
        "continuity_groups": {
            "acme": {"primary": "acme-prod", "bcp": "acme-bcp", "failover": "automatic", "hold_off": "5s", "failback": "manual"}
        },
        "entry_points": {"acme-sales": {"group": "acme", "numbers": list(numbers)}},
    }
    return Plan(sbcs, dialplan, {})


def with_million_numbers(plan: Plan, count: int = 1_000_000) -> Plan:
    """The same plan with `count` further numbers of the same entry point, from a CSV inventory."""
    big = plan.copy()
    lines = ["DID,Department"]
    lines += [f"+4940{10_000_000 + step * 7},acme-sales" for step in range(count)]
    big.csv["numbers.csv"] = "\n".join(lines) + "\n"
    big.dialplan["number_files"] = [{"file": "numbers.csv", "columns": {"number": "DID", "entry_point": "Department"}}]
    return big


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice: a plan may hold no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True
