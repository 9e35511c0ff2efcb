"""From a checked draft to a Topology: names become indexes and stable numeric ids.

Ids stand in route tokens and call records and outlive the plan that named an entity, so a name keeps its id for ever and a
removed name's id is never given to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import phonenumbers

from sipctl.dialplan.calendars import compile_schedule, zone_table
from sipctl.dialplan.load import IMPLIED_SITE, Draft
from sipctl.dialplan.places import Places
from sipctl.dialplan.report import Mark, Report
from sipctl.model.edge import LimitsModel, ObserveModel, PairModel, ReachModel
from sipctl.model.numbers import read_dialled_at
from sipctl.model.scalars import SbcUri
from sipctl.model.send import SendModel
from sipctl.routing.snapshot import (
    Approval,
    EntryPoint,
    EntryPointId,
    Exit,
    Group,
    GroupId,
    Listen,
    Match,
    ObserveRules,
    Probe,
    Reach,
    Sbc,
    SbcId,
    SbcPair,
    Schedule,
    SendRules,
    Site,
    Tenant,
    TenantId,
    Topology,
    Trunk,
    TrunkId,
    Zone,
)

DEFAULT_NODE: Final = "local"
MAX_ID: Final = (1 << 24) - 1  # three bytes of a route token
FIRST_DNS_SBC_ID: Final = 1 << 23  # SBCs from here on were named by DNS, not by a plan

Ids = Mapping[str, Mapping[str, int]]  # kind ("trunk", "pair", "sbc", "tenant", "group", "entry_point") → name → id


class IdBook:
    """Hands out ids: the same one for the same name, a fresh one for a new name."""

    __slots__ = ("_next", "_report", "ids")

    def __init__(self, ids: Ids, report: Report) -> None:
        self.ids: dict[str, dict[str, int]] = {kind: dict(names) for kind, names in ids.items()}
        self._report = report
        self._next: dict[str, int] = {}

    def number(self, kind: str, name: str, renamed_from: str | None = None) -> int:
        """The id of a name, 1 … MAX_ID; a new name takes over that of the one it replaces."""
        names = self.ids.setdefault(kind, {})
        if renamed_from is not None and name not in names and renamed_from in names:
            names[name] = names.pop(renamed_from)
        if name not in names:
            most = FIRST_DNS_SBC_ID - 1 if kind == "sbc" else MAX_ID
            if kind not in self._next:
                self._next[kind] = max((number for number in names.values() if number <= most), default=0) + 1
            if self._next[kind] > most:
                self._report.add("plan.ids", Mark("."), f"no id is left for {kind} {name}", "start with an empty STATE")
                return most
            names[name] = self._next[kind]
            self._next[kind] += 1
        return names[name]


class Builder:
    """One pass over a draft without errors."""

    __slots__ = ("_book", "_draft", "_listens", "_sites")

    def __init__(self, draft: Draft, book: IdBook) -> None:
        self._draft = draft
        self._book = book
        self._listens = self._read_listens()
        names = list(draft.sites) or [IMPLIED_SITE]
        self._sites = {name: index for index, name in enumerate(names)}

    def topology(self, revision: int, node: str | None) -> Topology:
        """The whole topology."""
        draft, number = self._draft, self._book.number
        pairs = {name: index for index, name in enumerate(draft.sbc_pairs)}
        trunks = {name: index for index, name in enumerate(draft.trunks)}
        tenants = {name: index for index, name in enumerate(draft.tenants)}
        groups = {name: index for index, name in enumerate(draft.continuity_groups)}
        sbcs, members = self._sbcs(pairs)
        places = Places(draft, len(tenants))
        zones, schedules = self._calendars()
        return Topology(
            revision=revision,
            node=node or DEFAULT_NODE,
            sites=tuple(
                Site(name, tuple(self._sites[other] for other in (draft.sites[name].fallback if name in draft.sites else ())))
                for name in self._sites
            ),
            listens=tuple(listen for _, listen in self._listens),
            trunks=tuple(self._trunk(name) for name in draft.trunks),
            sbcs=sbcs,
            pairs=tuple(self._pair(name, pair, members[name]) for name, pair in draft.sbc_pairs.items()),
            tenants=tuple(
                Tenant(
                    TenantId(number("tenant", name)),
                    name,
                    tuple(_reach(reach, pairs[reach.sbc_pair]) for reach in tenant.reached_by),
                    tenant.max_calls,
                )
                for name, tenant in draft.tenants.items()
            )
            + tuple(
                Tenant(TenantId(number("tenant", one.name)), one.name, (Reach(pairs[one.pair]),), one.max_calls, one.kind)
                for one in places.stand_ins
            ),
            groups=tuple(self._group(name, tenants) for name in draft.continuity_groups),
            entry_points=tuple(self._entry_point(name, groups, trunks, places) for name in draft.entry_points),
            max_call_age_s=draft.limits.max_call_age,
            cdr_days=draft.limits.cdr_days,
            approval=_approval(draft.limits),
            zones=zones,
            schedules=schedules,
            exits=tuple(Exit(name, places.exit(name), model.allow) for name, model in draft.exits.items()),
            overlays=tuple(places.overlay(name, model) for name, model in draft.overlays.items()),
            switches=tuple(places.switch(name, model, groups, trunks, tenants) for name, model in draft.switches.items()),
        )

    def _entry_point(self, name: str, groups: Mapping[str, int], trunks: Mapping[str, int], places: Places) -> EntryPoint:
        entry = self._draft.entry_points[name]
        split = tuple((groups[group], percent) for group, percent in entry.split.items())
        schedules = list(self._draft.schedules)
        return EntryPoint(
            id=EntryPointId(self._book.number("entry_point", name)),
            name=name,
            group=groups[entry.group] if entry.group is not None else split[0][0],
            trunks=None if entry.trunks is None else tuple(trunks[trunk] for trunk in entry.trunks),
            max_calls=entry.max_calls,
            over_limit=(entry.over_limit.code, entry.over_limit.cause),
            labels=tuple(entry.labels.items()),
            split=split,
            schedule=None if entry.schedule is None else schedules.index(entry.schedule),
            closed=None if entry.closed is None else places.treatment(entry.closed),
            overflow=tuple(places.destination(to) for to in entry.overflow),
            unusable=None if entry.unusable is None else places.treatment(entry.unusable),
            called_at=(_called_at(entry.called_at.primary), _called_at(entry.called_at.bcp)),
        )

    def _calendars(self) -> tuple[tuple[Zone, ...], tuple[Schedule, ...]]:
        """Zones once each, and the schedules that read them."""
        names = list(dict.fromkeys(model.zone for model in self._draft.schedules.values()))
        zones = tuple(zone_table(name) for name in names)
        return zones, tuple(
            compile_schedule(name, model, names.index(model.zone)) for name, model in self._draft.schedules.items()
        )

    def _read_listens(self) -> list[tuple[str, Listen]]:
        """(configured name, Listen): several binds of one name are told apart by their transport, then by a count."""
        made: list[tuple[str, Listen]] = []
        for name, model in self._draft.listen.items():
            taken: set[str] = set()
            for at, bind in enumerate(model.bind):
                own = name if len(model.bind) == 1 else f"{name}/{bind.transport}"
                count = 2
                while own in taken:
                    own = f"{name}/{bind.transport}-{count}"
                    count += 1
                taken.add(own)
                advertise = model.advertise[at] if model.advertise else None
                listen = Listen(
                    name=own,
                    transport=bind.transport,
                    host=bind.host,
                    port=bind.port,
                    advertise_host=advertise.host if advertise else bind.host,
                    advertise_port=(advertise.port if advertise else None) or bind.port,
                    dscp=model.dscp,
                )
                made.append((name, listen))
        return made

    def _listen_indexes(self, names: tuple[str, ...] | None) -> tuple[int, ...]:
        return tuple(index for index, (name, _) in enumerate(self._listens) if names is None or name in names)

    def _site(self, name: str | None) -> int:
        return self._sites[name] if name is not None else 0

    def _trunk(self, name: str) -> Trunk:
        model = self._draft.trunks[name]
        match = model.match
        code = phonenumbers.country_code_for_region(model.country) if model.country else 0
        listens = self._listen_indexes(model.listen)
        on = [index for index in self._listen_indexes((match.listen,)) if index in listens] if match.listen else []
        return Trunk(
            id=TrunkId(self._book.number("trunk", name)),
            name=name,
            site=self._site(model.site),
            listens=listens,
            sources=model.sources,
            match=Match(
                listen=on[0] if on else None,
                uri_host=match.uri_host,
                tgrp=match.tgrp,
                called_prefix=match.called_prefix,
                header=tuple(match.header.items()),
            ),
            called_from=model.called_from,
            called_format=model.called_format,
            country_code=str(code) if code else None,
            national_prefix=_national_prefix(model.country, code),
            trust=model.trust,
            max_calls=model.max_calls,
            max_cps=model.max_cps,
            exhausted=model.exhausted,
            overlap=model.overlap,
            priority=tuple(namespace.lower() for namespace in model.priority),
            quiet_alarm_s=model.quiet_alarm,
        )

    def _sbcs(self, pairs: Mapping[str, int]) -> tuple[tuple[Sbc, ...], dict[str, tuple[int, ...]]]:
        sbcs: list[Sbc] = []
        members: dict[str, tuple[int, ...]] = {}
        for name, pair in self._draft.sbc_pairs.items():
            allowed = self._listen_indexes(pair.listen)
            start = len(sbcs)
            for sbc, model in sorted(pair.sbcs.items(), key=lambda item: item[1].priority):
                uri = model.uri
                made = Sbc(
                    id=SbcId(self._book.number("sbc", sbc)),
                    name=sbc,
                    pair=pairs[name],
                    listen=self._listen_for(uri, allowed),
                    host=uri.host if uri.is_literal else "",
                    port=uri.port or 5060,
                    transport=uri.transport,
                    uri_host=f"[{uri.host}]" if ":" in uri.host else uri.host,
                    priority=model.priority,
                    weight=model.weight,
                    max_calls=model.max_calls,
                )
                sbcs.append(made)
            members[name] = tuple(range(start, len(sbcs)))
        return tuple(sbcs), members

    def _listen_for(self, uri: SbcUri, allowed: tuple[int, ...]) -> int:
        """The first allowed listen of the URI's transport and family; `check` made sure there is one."""
        for index in allowed:
            listen = self._listens[index][1]
            if listen.transport == uri.transport and (not uri.is_literal or (":" in listen.host) == (":" in uri.host)):
                return index
        raise AssertionError(f"no listen for {uri}")

    def _pair(self, name: str, model: PairModel, members: tuple[int, ...]) -> SbcPair:
        probe = model.probe
        return SbcPair(
            id=self._book.number("pair", name),
            name=name,
            site=self._site(model.site),
            sbcs=members,
            strategy=model.strategy,
            sources=model.sources,
            shared_dialogs=model.shared_dialogs,
            symmetric=model.in_dialog == "symmetric",
            redundancy=model.redundancy,
            probe=None
            if probe is None
            else Probe(
                interval_s=probe.interval,
                fast_interval_s=probe.fast_interval,
                timeout_s=probe.timeout,
                fall=probe.fall,
                rise=probe.rise,
                min_up_s=probe.min_up,
                replies=probe.replies,
            ),
            no_reply_s=model.no_reply,
            no_progress_s=model.no_progress,
            advance_on=frozenset(code for code in model.advance_on if isinstance(code, int)),
            advance_on_no_reply="no-reply" in model.advance_on,
            advance_on_no_progress="no-progress" in model.advance_on,
            srv=f"sip:{model.srv.host};transport={model.srv.transport}" if model.srv else None,
            expect=model.expect,
            listens=self._listen_indexes(model.listen),
            send=None if model.send is None else _send_rules(model.send),
            observe=None if model.observe is None else _observe_rules(model.observe),
        )

    def _group(self, name: str, tenants: Mapping[str, int]) -> Group:
        model = self._draft.continuity_groups[name]
        return Group(
            id=GroupId(self._book.number("group", name, model.renamed_from)),
            name=name,
            primary=tenants[model.primary],
            bcp=tenants[model.bcp],
            failover=model.failover,
            advance_across=model.advance_across or ("to-bcp" if model.failover == "automatic" else "never"),
            hold_off_s=model.hold_off,
            failback=model.failback,
            hold_down_s=model.hold_down,
            ramp=model.ramp,
            ramp_step_s=model.ramp_step,
            mode=model.mode,
            renamed_from=model.renamed_from,
            approved_by=model.approval.by if model.approval.moves == "two-person" else (),
        )


def _approval(limits: LimitsModel) -> Approval:
    glass = limits.break_glass
    return Approval(limits.approval_above, limits.approval_by, limits.approval_within, limits.approver_age, glass.by, glass.lasts)


def _called_at(text: str | None) -> tuple[int, int]:
    dialled = read_dialled_at(text) if text else None
    return (dialled.base, dialled.copied) if dialled else (0, 0)


def _observe_rules(model: ObserveModel) -> ObserveRules:
    return ObserveRules(model.min_calls, model.difference / 100, model.slower, model.hold, model.most / 100)


def _send_rules(model: SendModel) -> SendRules:
    code = phonenumbers.country_code_for_region(model.country) if model.country else 0
    return SendRules(
        called=model.called,
        country_code=str(code) if code else "",
        national_prefix=_national_prefix(model.country, code),
        set_headers=tuple(model.headers.set.items()),
        remove_headers=model.headers.remove,
        diversion=model.diversion,
        identity=model.identity,
        uui=model.uui,
    )


def _reach(model: ReachModel, pair: int) -> Reach:
    return Reach(pair, model.port, model.host, model.tgrp, model.trunk_context, model.called_prefix)


def _national_prefix(country: str | None, code: int) -> str:
    """What stands in front of national numbers and no national number begins with: 0, or 1 in the North American plan.

    Other prefixes (8, 06) may also begin a number, so they are never guessed away.
    """
    if country is None:
        return ""
    if code == 1:
        return "1"
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country, None)
    return "0" if metadata is not None and metadata.national_prefix == "0" else ""
