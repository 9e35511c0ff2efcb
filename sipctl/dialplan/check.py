"""What a plan must satisfy beyond being readable: names that exist, addresses that are unambiguous, policies that make sense.

Every check looks at the entries that read and reports at the place of the value that is wrong; none stops another.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

import phonenumbers

from sipctl.dialplan.lint.edge import lint_edge, may_be_one_call
from sipctl.dialplan.lint.policy import lint_policy
from sipctl.dialplan.load import IMPLIED_SITE, Draft
from sipctl.dialplan.places import sent_to
from sipctl.dialplan.report import Mark, Report, did_you_mean
from sipctl.model.edge import PairModel, ReachModel, TrunkModel
from sipctl.model.scalars import Endpoint


def check(draft: Draft, report: Report) -> None:
    """All checks that need no number."""
    _check_listens(draft, report)
    _check_sites(draft, report)
    _check_trunks(draft, report)
    _check_pairs(draft, report)
    _check_addresses(draft, report)
    _check_tenants(draft, report)
    _check_groups(draft, report)
    _check_entry_points(draft, report)
    lint_edge(draft, report)
    lint_policy(draft, report)


def known(draft: Draft, report: Report, section: str, kind: str, name: str | None, *place: str | int) -> bool:
    """Whether a name is defined in a section; a finding at `place` if not."""
    names = draft.names(section)
    if name is None or name in names or (section == "sites" and not names and name == IMPLIED_SITE):
        return True
    report.add("plan.unknown-name", draft.mark(*place), f"no {kind} is called {name}", did_you_mean(name, names))
    return False


def all_known(draft: Draft, report: Report, section: str, kind: str, names: Iterable[str] | None, *place: str | int) -> None:
    """The same for a list of names, or one name standing for a list."""
    for at, name in enumerate(names or ()):
        known(draft, report, section, kind, name, *place, at)


# -- the edge --------------------------------------------------------------------------------------------------------------------


def _check_listens(draft: Draft, report: Report) -> None:
    if not draft.names("listen") and draft.edge.fields:
        hint = 'e.g. listen: {outside: {bind: "udp:203.0.113.9:5060"}}'
        report.add("listen.none", Mark(next(iter(draft.edge.keys.values())).path), "no listen is defined", hint)
    seen: dict[Endpoint, str] = {}
    for name, listen in draft.listen.items():
        for at, bind in enumerate(listen.bind):
            place = draft.mark("listen", name, "bind", at)
            if bind in seen:
                report.add(
                    "listen.same-bind", place, f"{seen[bind]} binds this address too", "give each bind its own address or port"
                )
            seen.setdefault(bind, name)
            if bind.is_wildcard and listen.advertise is None:
                message = f"{name} binds a wildcard and says nothing of the address others can reach"
                report.add("listen.wildcard", place, message, 'add advertise: "203.0.113.9:5060"')
        if listen.advertise is not None and len(listen.advertise) != len(listen.bind):
            message = f"{name} has {len(listen.bind)} binds and {len(listen.advertise)} addresses to advertise"
            report.add(
                "listen.advertise", draft.mark("listen", name, "advertise"), message, "list one for each, in the same order"
            )


def _check_sites(draft: Draft, report: Report) -> None:
    for name, site in draft.sites.items():
        all_known(draft, report, "sites", "site", site.fallback, "sites", name, "fallback")
    for section, kind in (("trunks", "trunk"), ("sbc_pairs", "pair")):
        entries: Iterable[tuple[str, TrunkModel | PairModel]]
        entries = draft.trunks.items() if section == "trunks" else draft.sbc_pairs.items()
        for name, entry in entries:
            known(draft, report, "sites", "site", entry.site, section, name, "site")
            if entry.site is None and len(draft.names("sites")) > 1:
                place = draft.mark(section, name, at_key=True)
                report.add("site.needed", place, f"{kind} {name} names no site", "add site: " + " or ".join(draft.names("sites")))


def _check_trunks(draft: Draft, report: Report) -> None:
    for name, trunk in draft.trunks.items():
        all_known(draft, report, "listen", "listen", trunk.listen, "trunks", name, "listen")
        known(draft, report, "listen", "listen", trunk.match.listen, "trunks", name, "match", "listen")
        if trunk.called_format == "national" and trunk.country is None:
            place = draft.mark("trunks", name, "called_format")
            report.add("trunk.country", place, f"{name} writes national numbers of no country", "add country: DE (or another)")
        if trunk.country is not None and not phonenumbers.country_code_for_region(trunk.country):
            place = draft.mark("trunks", name, "country")
            hint = did_you_mean(trunk.country, phonenumbers.SUPPORTED_REGIONS)
            report.add("trunk.country", place, f"{trunk.country} is no country with telephone numbers", hint)
        for at, source in enumerate(trunk.sources):
            if ip_network(source).prefixlen == 0:
                place = draft.mark("trunks", name, "sources", at)
                report.add(
                    "trunk.open", place, f"{source} lets every address call through {name}", "list the carrier's addresses"
                )
    _check_ambiguous_trunks(draft, report)


def _check_ambiguous_trunks(draft: Draft, report: Report) -> None:
    """Trunks of one network on one listen, with as many conditions as each other, that one call could satisfy together."""
    holders: dict[str, list[str]] = {}
    told: set[tuple[str, str]] = set()
    for name, trunk in draft.trunks.items():
        for at, source in enumerate(trunk.sources):
            for other in holders.get(source, ()):
                if (other, name) not in told and other != name and may_be_one_call(draft, draft.trunks[other], trunk):
                    told.add((other, name))
                    message = f"{name} and {other} both have the source {source}, and a call could be either"
                    hint = "add a condition under match to one of them"
                    report.add("trunk.ambiguous", draft.mark("trunks", name, "sources", at), message, hint)
            holders.setdefault(source, []).append(name)


def _check_pairs(draft: Draft, report: Report) -> None:
    homes: dict[str, str] = {}
    used = {reach.sbc_pair for tenant in draft.tenants.values() for reach in tenant.reached_by}
    used |= {model.sbc_pair for model in draft.exits.values()} | {to.sbc_pair for _, to in sent_to(draft) if to.sbc_pair}
    for name, pair in draft.sbc_pairs.items():
        key = draft.mark("sbc_pairs", name, at_key=True)
        all_known(draft, report, "listen", "listen", pair.listen, "sbc_pairs", name, "listen")
        if bool(pair.sbcs) == (pair.srv is not None):
            report.add("pair.members", key, f"pair {name} needs either sbcs or srv", "list its SBCs, or name the SRV record")
        if pair.srv is not None and (pair.srv.is_literal or pair.srv.port is not None):
            message = "an SRV record belongs to a host name without a port"
            report.add(
                "plan.bad-address", draft.mark("sbc_pairs", name, "srv"), message, "write srv: sip:edge.example.net;transport=udp"
            )
        if pair.expect is not None and pair.srv is None:
            report.add("pair.members", draft.mark("sbc_pairs", name, "expect"), "expect belongs to srv", "remove it")
        if len(pair.sbcs) == 1 and pair.redundancy == "pair":
            hint = "add a second SBC, or say redundancy: virtual-ip if two boxes share the address"
            report.add("pair.single", key, f"pair {name} has one SBC and nothing that backs it up", hint)
        whole = all(
            len(have) == len(draft.names(section)) for section, have in (("tenants", draft.tenants), ("exits", draft.exits))
        )
        if name not in used and whole:
            report.add("pair.unused", key, f"no tenant is reached by pair {name}", "name it under a tenant's reached_by")
        for sbc in pair.sbcs:
            place = draft.mark("sbc_pairs", name, "sbcs", sbc, at_key=True)
            if sbc in homes:
                report.add("plan.defined-twice", place, f"SBC {sbc} stands also in pair {homes[sbc]}", "SBC names are used once")
            homes.setdefault(sbc, name)
        _check_pair_listens(draft, report, name, pair)


def _check_pair_listens(draft: Draft, report: Report, name: str, pair: PairModel) -> None:
    allowed = pair.listen or draft.names("listen")
    if any(listen not in draft.listen for listen in allowed):
        return  # unknown or unreadable: told already
    binds = [bind for listen in allowed for bind in draft.listen[listen].bind]
    targets = [(uri.uri, draft.mark("sbc_pairs", name, "sbcs", sbc, "uri")) for sbc, uri in pair.sbcs.items()]
    if pair.srv is not None:
        targets.append((pair.srv, draft.mark("sbc_pairs", name, "srv")))
    for uri, place in targets:
        fit = [
            bind
            for bind in binds
            if bind.transport == uri.transport and (not uri.is_literal or (":" in bind.host) == (":" in uri.host))
        ]
        if not fit and binds:
            family = "" if not uri.is_literal else " over IPv6" if ":" in uri.host else " over IPv4"
            message = f"no listen of pair {name} speaks {uri.transport}{family}"
            report.add("pair.no-listen", place, message, "add such a bind, or change the transport")


def _check_addresses(draft: Draft, report: Report) -> None:
    """No two SBCs with one address, ports of reached_by included: a packet must tell who sent it."""
    ports: dict[str, set[int]] = {}
    for tenant in draft.tenants.values():
        for reach in tenant.reached_by:
            if reach.port is not None:
                ports.setdefault(reach.sbc_pair, set()).add(reach.port)
    seen: dict[tuple[str, int], str] = {}
    for name, pair in draft.sbc_pairs.items():
        for sbc, model in pair.sbcs.items():
            for port in {model.uri.port or 5060} | ports.get(name, set()):
                address = (model.uri.host, port)
                if address in seen and seen[address] != sbc:
                    place = draft.mark("sbc_pairs", name, "sbcs", sbc, "uri")
                    message = f"{seen[address]} has the address {address[0]}:{port} too"
                    hint = "several tenants behind one pair: name the pair in each tenant's reached_by"
                    report.add("sbc.same-address", place, message, hint)
                seen.setdefault(address, sbc)


def _check_tenants(draft: Draft, report: Report) -> None:
    for name, tenant in draft.tenants.items():
        seen: list[ReachModel] = []
        for at, reach in enumerate(tenant.reached_by):
            place: tuple[str | int, ...] = ("tenants", name, "reached_by", at, "sbc_pair")
            known(draft, report, "sbc_pairs", "SBC pair", reach.sbc_pair, *place)
            if reach in seen:
                report.add("tenant.reach", draft.mark(*place), f"{name} is reached through {reach.sbc_pair} twice", "remove one")
            seen.append(reach)


# -- the dial plan ---------------------------------------------------------------------------------------------------------------


def _check_groups(draft: Draft, report: Report) -> None:
    for name, group in draft.continuity_groups.items():
        section = "continuity_groups"
        known(draft, report, "tenants", "tenant", group.primary, section, name, "primary")
        known(draft, report, "tenants", "tenant", group.bcp, section, name, "bcp")
        if group.primary == group.bcp:
            message = f"group {name} has {group.bcp} as primary and as BCP tenant"
            report.add("group.same-tenant", draft.mark(section, name, "bcp"), message, "name another tenant")
        elif group.primary in draft.tenants and group.bcp in draft.tenants:
            pairs = [{reach.sbc_pair for reach in draft.tenants[tenant].reached_by} for tenant in (group.primary, group.bcp)]
            if pairs[0] & pairs[1]:
                both = ", ".join(sorted(pairs[0] & pairs[1]))
                message = f"both tenants of group {name} stand behind {both}: it takes them down together"
                report.add(
                    "group.shared-pair", draft.mark(section, name, "bcp"), message, "reach the BCP tenant through other SBCs"
                )
        if list(group.ramp) != sorted(set(group.ramp)) or group.ramp[-1] != 100:
            place = draft.mark(section, name, "ramp")
            report.add("group.ramp", place, f"the ramp of group {name} does not grow to 100%", "e.g. [10%, 50%, 100%]")


def _check_entry_points(draft: Draft, report: Report) -> None:
    for name, entry in draft.entry_points.items():
        known(draft, report, "continuity_groups", "continuity group", entry.group, "entry_points", name, "group")
        all_known(draft, report, "trunks", "trunk", entry.trunks, "entry_points", name, "trunks")
