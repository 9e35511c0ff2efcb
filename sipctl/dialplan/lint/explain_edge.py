"""Explanations of findings about sockets, trunks, SBC pairs and tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sipctl.dialplan.lint.example import Example, Explanation, explain

_TRUNK: Final = "trunks:\n  carrier: {{listen: outside, {}}}\n"
_SOURCES: Final = "sources: [198.51.100.0/28]"
_TWO: Final = "trunks:\n  carrier: {{listen: outside, sources: [198.51.100.0/28]}}\n  other: {{listen: outside, {}}}\n"
_FRA: Final = '  fra:\n    sbcs:\n      fra-a: {uri: "sip:10.4.1.11"}\n      fra-b: {uri: "sip:10.4.1.12"}\n'
_AMS: Final = '  ams:\n    sbcs:\n      ams-a: {uri: "sip:10.5.1.11"}\n      ams-b: {uri: "sip:10.5.1.12"}\n'
_PAIRS: Final = f"sbc_pairs:\n{_FRA}{_AMS}"
_TENANTS: Final = "tenants:\n  prod: {{reached_by: [fra]{}}}\n  bcp: {{reached_by: [ams]}}\n"

EDGE: Final[Mapping[str, Explanation]] = {
    "listen.wildcard": explain(
        "Via and Record-Route must name an address others can answer; 0.0.0.0 is none.",
        'listen:\n  outside: {bind: "udp:0.0.0.0:5060"}\n  inside: {bind: "udp:10.1.0.5:5070"}\n',
        'listen:\n  outside: {bind: "udp:0.0.0.0:5060", advertise: "203.0.113.9:5060"}\n  inside: {bind: "udp:10.1.0.5:5070"}\n',
    ),
    "listen.advertise": explain(
        "Binds and advertised addresses belong together in their order; with another count nobody knows which to which.",
        'listen:\n  outside: {bind: "udp:203.0.113.9:5060", advertise: [sip.example.net, b.example.net]}\n'
        '  inside: {bind: "udp:10.1.0.5:5060"}\n',
        'listen:\n  outside: {bind: "udp:203.0.113.9:5060", advertise: [sip.example.net]}\n'
        '  inside: {bind: "udp:10.1.0.5:5060"}\n',
    ),
    "listen.same-bind": explain(
        "One socket cannot be two; a call's way in would not tell where it came from.",
        'listen:\n  outside: {bind: "udp:10.1.0.5:5060"}\n  inside: {bind: "udp:10.1.0.5:5060"}\n',
        'listen:\n  outside: {bind: "udp:10.1.0.5:5060"}\n  inside: {bind: "udp:10.1.0.5:5070"}\n',
    ),
    "listen.none": explain(
        "Without a socket no call comes in and none goes out.",
        Example(
            f"trunks:\n  carrier: {{{_SOURCES}}}\n{_PAIRS}\n(and no listen)",
            made=lambda: {"sbc_configs/example.yaml": f"trunks:\n  carrier: {{{_SOURCES}}}\n{_PAIRS}".encode()},
            without=("listen",),
        ),
        f"trunks:\n  carrier: {{{_SOURCES}}}\n{_PAIRS}",
    ),
    "trunk.ambiguous": explain(
        "Which trunk a call belongs to decides its limits, its number form and its trust; one call must be of one trunk.",
        _TWO.format("sources: [198.51.100.0/28]"),
        _TWO.format("sources: [198.51.100.0/28], match: {tgrp: other}"),
    ),
    "trunk.overlap": explain(
        "The narrower network wins silently: calls from there have the other trunk's limits, number form and trust.",
        _TWO.format("sources: [198.51.100.4]"),
        _TWO.format("sources: [198.51.100.20]"),
    ),
    "trunk.loop": explain(
        "A packet we send to ourselves, by a wrong route or a Contact, would come in again as the carrier's call.",
        _TRUNK.format("sources: [203.0.113.0/24]"),
        _TRUNK.format(_SOURCES),
    ),
    "trunk.country": explain(
        "A national number is a number only together with its country.",
        _TRUNK.format(f"{_SOURCES}, called_format: national"),
        _TRUNK.format(f"{_SOURCES}, called_format: national, country: DE"),
    ),
    "trunk.open": explain(
        "Scanners try every SIP port of the Internet; each of their calls would be taken for the carrier's.",
        _TRUNK.format("sources: [0.0.0.0/0]"),
        _TRUNK.format(_SOURCES),
    ),
    "pair.members": explain(
        "Without SBCs there is nobody to call; with both a list and an SRV record nobody knows which one counts.",
        f"sbc_pairs:\n{_FRA}  ams: {{shared_dialogs: true}}\n",
        _PAIRS,
    ),
    "pair.no-listen": explain(
        "No socket can send to that SBC, so it would be out of service for ever.",
        _PAIRS.replace("10.4.1.12", "10.4.1.12;transport=tcp"),
        _PAIRS,
    ),
    "pair.single": explain(
        "When this one box fails, its tenant fails with it.",
        f'sbc_pairs:\n{_FRA}  ams: {{sbcs: {{ams-a: {{uri: "sip:10.5.1.11"}}}}}}\n',
        f'sbc_pairs:\n{_FRA}  ams: {{redundancy: virtual-ip, sbcs: {{ams-a: {{uri: "sip:10.5.1.11"}}}}}}\n',
    ),
    "pair.same-host": explain(
        "Two ports of one machine fail together; that is one SBC with two names.",
        _PAIRS.replace("10.4.1.12", "10.4.1.11:5070"),
        _PAIRS,
    ),
    "pair.unused": explain(
        "It is probed and counted, but takes no call: usually a tenant was meant to name it.",
        f'{_PAIRS}  lon:\n    sbcs:\n      lon-a: {{uri: "sip:10.6.1.11"}}\n      lon-b: {{uri: "sip:10.6.1.12"}}\n',
        _PAIRS,
    ),
    "pair.family": explain(
        "sipctl changes no SDP: a caller who sends audio over IPv4 cannot hear an SBC that speaks IPv6 only.",
        'listen:\n  outside: {bind: "udp:203.0.113.9:5060"}\n  inside: {bind: ["udp:10.1.0.5:5060", "udp:[2001:db8::5]:5060"]}\n'
        + _PAIRS.replace("10.4.1.11", "[2001:db8::11]").replace("10.4.1.12", "[2001:db8::12]"),
        _PAIRS,
    ),
    "sbc.same-address": explain(
        "A packet must tell which SBC sent it; two with one address cannot be told apart.",
        _PAIRS.replace("10.5.1.11", "10.4.1.11"),
        _PAIRS,
    ),
    "sbc.is-us": explain(
        "Calls to that SBC come back to sipctl, again and again, until Max-Forwards ends them.",
        _PAIRS.replace("10.4.1.12", "10.1.0.5:5060"),
        _PAIRS,
    ),
    "site.needed": explain(
        "Own site first is how calls find the nearest SBC; without a site that is a guess.",
        "sites: {frankfurt: {}, amsterdam: {}}\n"
        + _TRUNK.format(f"{_SOURCES}")
        + _PAIRS.replace("  fra:\n", "  fra:\n    site: frankfurt\n").replace("  ams:\n", "  ams:\n    site: amsterdam\n"),
        "sites: {frankfurt: {}, amsterdam: {}}\n"
        + _TRUNK.format(f"{_SOURCES}, site: frankfurt")
        + _PAIRS.replace("  fra:\n", "  fra:\n    site: frankfurt\n").replace("  ams:\n", "  ams:\n    site: amsterdam\n"),
    ),
    "tenant.reach": explain(
        "The same way twice means that a failed attempt is made again before another way is tried.",
        "tenants:\n  prod: {reached_by: [fra, fra]}\n  bcp: {reached_by: [ams]}\n",
        _TENANTS.format(""),
    ),
    "tenant.max-calls": explain(
        "The SBCs are full long before the tenant's own limit: the limit holds nothing, and callers meet SBCs that refuse.",
        _PAIRS.replace('12"}', '12", max_calls: 100}').replace('11"}', '11", max_calls: 100}')
        + _TENANTS.format(", max_calls: 500"),
        _PAIRS.replace('12"}', '12", max_calls: 100}').replace('11"}', '11", max_calls: 100}')
        + _TENANTS.format(", max_calls: 200"),
    ),
    "probe.slow": explain(
        "A dead SBC is only noticed after so long; until then every call waits for it first.",
        _PAIRS.replace("  fra:\n", "  fra:\n    probe: {interval: 30s, fall: 5}\n"),
        _PAIRS.replace("  fra:\n", "  fra:\n    probe: {interval: 5s, fall: 3}\n"),
    ),
}
