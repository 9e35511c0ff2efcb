"""The demo's plan: a carrier, a primary and a BCP tenant with an SBC pair each, all on loopback addresses and free ports."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipctl.testing.wire import Address

GROUP: Final = "acme"
PRIMARY: Final = "acme-prod"
BCP: Final = "acme-bcp"
NUMBER: Final = "+4930901820"
SBC_HOSTS: Final = {"fra-a": "127.20.2.1", "fra-b": "127.20.2.2", "ams-a": "127.20.3.1", "ams-b": "127.20.3.2"}
CARRIER_HOST: Final = "127.20.1.1"
OUTSIDE_HOST: Final = "127.20.0.1"
INSIDE_HOST: Final = "127.20.0.2"

SBC_CONFIG: Final = """\
# Made by `sipctl demo`. One trunk, two SBC pairs, two tenants.
listen:
  outside: {{bind: "udp:{outside}"}}
  inside: {{bind: "udp:{inside}"}}
trunks:
  carrier: {{listen: outside, sources: [{carrier}/32]}}
sbc_pairs:
  fra:
    listen: inside
    sbcs:
      fra-a: {{uri: "sip:{fra_a};transport=udp", priority: 1}}
      fra-b: {{uri: "sip:{fra_b};transport=udp", priority: 2}}
    probe: {{interval: 1s, fast_interval: 250ms, timeout: 500ms, fall: 3, rise: 3}}
  ams:
    listen: inside
    sbcs:
      ams-a: {{uri: "sip:{ams_a};transport=udp", priority: 1}}
      ams-b: {{uri: "sip:{ams_b};transport=udp", priority: 2}}
    probe: {{interval: 1s, fast_interval: 250ms, timeout: 500ms, fall: 3, rise: 3}}
tenants:
  acme-prod: {{reached_by: [fra]}}
  acme-bcp: {{reached_by: [ams]}}
"""

DIAL_PLAN: Final = """\
# Made by `sipctl demo`. The waits are short so that the story fits into forty seconds.
continuity_groups:
  acme:
    primary: acme-prod
    bcp: acme-bcp
    failover: automatic
    hold_off: 2s
    failback: automatic
    hold_down: 3s
    ramp: [50%, 100%]
    ramp_step: 3s
entry_points:
  acme-sales:
    group: acme
    numbers: ["+4930901820", "+4930901821XX"]
"""


@dataclass(frozen=True, slots=True)
class DemoAddresses:
    """Where everybody stands."""

    carrier: Address
    outside: Address
    inside: Address
    sbcs: dict[str, Address]


def free_addresses() -> DemoAddresses:
    """A free UDP port at each of the demo's loopback hosts.

    Raises: OSError where a host of 127.0.0.0/8 beyond 127.0.0.1 has no address, as outside Linux.
    """
    return DemoAddresses(
        _free(CARRIER_HOST), _free(OUTSIDE_HOST), _free(INSIDE_HOST), {name: _free(host) for name, host in SBC_HOSTS.items()}
    )


def write_plan(folder: Path, where: DemoAddresses) -> None:
    """Write both folders of the plan."""
    names = {name.replace("-", "_"): _text(address) for name, address in where.sbcs.items()}
    config = SBC_CONFIG.format(outside=_text(where.outside), inside=_text(where.inside), carrier=where.carrier[0], **names)
    for path, text in (("sbc_configs/demo.yaml", config), ("dialplans/demo.yaml", DIAL_PLAN)):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _free(host: str) -> Address:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return host, int(sock.getsockname()[1])


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
