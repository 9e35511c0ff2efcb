"""Checks of what sends calls elsewhere: schedules, exits, overlays, kill switches, splits, and the ways between entry points.

Ways that are judged by circumstance (closed, overflow, unusable) may each be taken by one call, one after another: so any circle
of them can go round for ever, and is refused here although a call would need bad luck to meet it.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import phonenumbers

from sipctl.dialplan.calendars import (
    HORIZON_YEARS,
    compile_schedule,
    known_region,
    known_zone,
    overlapping,
    region_names,
    zone_names,
)
from sipctl.dialplan.check import all_known, known
from sipctl.dialplan.load import Draft
from sipctl.dialplan.places import sent_to
from sipctl.dialplan.report import Report, did_you_mean
from sipctl.model.numbers import NumberError, NumberText, read_number, strip_separators
from sipctl.model.send import placeholders
from sipctl.model.treatments import EVERYWHERE
from sipctl.routing.numbers import E164_SCOPE, NOT_FOUND, Numbers, key_of

MAX_WAYS: Final = 8  # entry points one call may be sent through; routing/treat.py stops there too


def check_treatments(draft: Draft, report: Report, today: date | None = None) -> None:
    """All of them.

    Args:
        today: to tell when the holidays known are coming to an end; None: nobody asks.
    """
    _check_schedules(draft, report, today)
    _check_exits(draft, report)
    _check_entry_points(draft, report)
    _check_places(draft, report)
    _check_ways(draft, report)
    _check_overlays(draft, report)
    _check_switches(draft, report)
    _check_send(draft, report)
    _check_renamed(draft, report)


# -- schedules -------------------------------------------------------------------------------------------------------------------


def _check_schedules(draft: Draft, report: Report, today: date | None) -> None:
    used = {entry.schedule for entry in draft.entry_points.values()}
    for name, schedule in draft.schedules.items():
        has_zone = known_zone(schedule.zone)
        if not has_zone:
            hint = did_you_mean(schedule.zone, zone_names())
            report.add("schedule.zone", draft.mark("schedules", name, "zone"), f"no time zone is called {schedule.zone}", hint)
        regions = True
        for at, region in enumerate(schedule.holidays):
            if not known_region(region):
                regions = False
                message = f"no public holidays are known of {region}"
                report.add(
                    "schedule.holidays",
                    draft.mark("schedules", name, "holidays", at),
                    message,
                    did_you_mean(region, region_names()),
                )
        for at in overlapping(schedule):
            message = f"{schedule.open[at].text} shares hours with another window of {name}"
            report.add("schedule.overlap", draft.mark("schedules", name, "open", at), message, "make one window of both")
        if today is not None and regions and schedule.holidays:
            until = compile_schedule(name, schedule, 0).holidays_until
            if until - today.year < HORIZON_YEARS:
                message = f"the public holidays of {', '.join(schedule.holidays)} are known until the end of {until} only"
                hint = "install a newer sipctl, or name further days under closed"
                report.add("schedule.horizon", draft.mark("schedules", name, "holidays"), message, hint)
        if name not in used and len(draft.entry_points) == len(draft.names("entry_points")):
            place = draft.mark("schedules", name, at_key=True)
            report.add("schedule.unused", place, f"no entry point keeps the hours of {name}", "name it, or remove it")


# -- exits -----------------------------------------------------------------------------------------------------------------------


def _check_exits(draft: Draft, report: Report) -> None:
    inside = {reach.sbc_pair: tenant for tenant, model in draft.tenants.items() for reach in model.reached_by}
    for name, model in draft.exits.items():
        known(draft, report, "sbc_pairs", "SBC pair", model.sbc_pair, "exits", name, "sbc_pair")
        if model.sbc_pair in inside:
            message = f"{model.sbc_pair} leads out, but tenant {inside[model.sbc_pair]} is reached by it too"
            hint = "an exit's pair serves nothing else: otherwise calls get out past its allow-list"
            report.add("exit.shared-pair", draft.mark("exits", name, "sbc_pair"), message, hint)
        for at, text in enumerate(model.allow):
            number = _outside(text)
            if isinstance(number, NumberError):
                place = draft.mark("exits", name, "allow", at)
                report.add("exit.allow", place, str(number), number.hint or 'write "+49.", "+4969555000" or a range')


def _outside(text: str) -> NumberText | NumberError:
    """A number, range or pattern with +."""
    try:
        number = read_number(strip_separators(text))
    except NumberError as error:
        return error
    if not number.is_e164:
        return NumberError("exit.allow", f"{text!r} has no +", "write +COUNTRY NUMBER")
    return number


def allows(allow: tuple[str, ...], number: str) -> bool:
    """Whether an exit's list holds an E.164 number."""
    key = key_of(number.removeprefix("+"))
    read = (_outside(text) for text in allow)
    return any(not isinstance(one, NumberError) and any(low <= key <= high for low, high in one.intervals) for one in read)


# -- entry points and where they send calls --------------------------------------------------------------------------------------


def _check_entry_points(draft: Draft, report: Report) -> None:
    for name, entry in draft.entry_points.items():
        key = draft.mark("entry_points", name, at_key=True)
        if (entry.group is None) == (not entry.split):
            what = "both group and split" if entry.split else "neither group nor split"
            report.add("entry.group", key, f"entry point {name} has {what}", "name its group, or the shares of several")
        for group in entry.split:
            if group not in draft.names("continuity_groups"):
                place = draft.mark("entry_points", name, "split", group, at_key=True)
                hint = did_you_mean(group, draft.names("continuity_groups"))
                report.add("plan.unknown-name", place, f"no continuity group is called {group}", hint)
        if entry.split and sum(entry.split.values()) != 100:
            message = f"the shares of {name} are {sum(entry.split.values())}% together, not 100%"
            report.add("entry.split", draft.mark("entry_points", name, "split"), message, "make them 100% together")
        known(draft, report, "schedules", "schedule", entry.schedule, "entry_points", name, "schedule")
        if entry.schedule is not None and entry.closed is None:
            message = f"{name} keeps hours, but does not say what becomes of calls outside them"
            place = draft.mark("entry_points", name, "schedule")
            report.add("entry.closed", place, message, "add closed: {to: {entry_point: NAME}} or {refuse: 480}")
        if entry.closed is not None and entry.schedule is None:
            place = draft.mark("entry_points", name, "closed", at_key=True)
            report.add("entry.closed", place, f"{name} has no schedule, so it is never closed", "add schedule, or remove closed")


def _check_places(draft: Draft, report: Report) -> None:
    exits = {model.sbc_pair: name for name, model in draft.exits.items()}
    for keys, to in sent_to(draft):
        known(draft, report, "entry_points", "entry point", to.entry_point, *keys, "entry_point")
        known(draft, report, "sbc_pairs", "SBC pair", to.sbc_pair, *keys, "sbc_pair")
        known(draft, report, "exits", "exit", to.exit, *keys, "exit")
        if to.sbc_pair in exits:
            message = f"{to.sbc_pair} leads out through exit {exits[to.sbc_pair]}: that is the only way to use it"
            report.add("exit.shared-pair", draft.mark(*keys, "sbc_pair"), message, "write {number: …, exit: …}")
        if to.number is None:
            continue
        number = _outside(to.number)
        place = draft.mark(*keys, "number")
        if isinstance(number, NumberError):
            report.add("exit.number", place, str(number), number.hint)
        elif number.kind != "exact":
            report.add("exit.number", place, f"{to.number} is no single number", "write one number in full")
        elif to.exit in draft.exits and not allows(draft.exits[to.exit].allow, number.text):
            allow = ", ".join(draft.exits[to.exit].allow)
            report.add("exit.not-allowed", place, f"{number.text} may not leave through {to.exit}: {allow}", "extend its allow")


def check_ways_back(draft: Draft, numbers: Numbers, report: Report) -> None:
    """Numbers outside that are our own: such a call would go out only to come back in."""
    for keys, to in sent_to(draft):
        if to.number is not None:
            number = strip_separators(to.number)
            if numbers.find(E164_SCOPE, key_of(number.removeprefix("+"))) != NOT_FOUND:
                message = f"{number} is a number of this plan: the call would come back to us"
                report.add("exit.own-number", draft.mark(*keys, "number"), message, "write {entry_point: …}")


def _check_ways(draft: Draft, report: Report) -> None:
    """No circle, and no chain longer than a call may go."""
    ways: dict[str, list[tuple[str, tuple[str | int, ...]]]] = {}
    for keys, to in sent_to(draft):
        if keys[0] == "entry_points" and to.entry_point in draft.entry_points:
            ways.setdefault(str(keys[1]), []).append((to.entry_point, (*keys, "entry_point")))
    depth: dict[str, int] = {}
    for start in draft.entry_points:
        if start in depth:
            continue
        path, stack = [start], [iter(ways.get(start, ()))]
        longest = [0]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                depth[path.pop()] = longest.pop()
                stack.pop()
                if longest:
                    longest[-1] = max(longest[-1], depth_of(depth, ways, path[-1]))
            elif step[0] in path:
                circle = " → ".join([*path[path.index(step[0]) :], step[0]])
                report.add(
                    "entry.circle", draft.mark(*step[1]), f"calls can go round for ever: {circle}", "end the chain elsewhere"
                )
            elif step[0] not in depth:
                path.append(step[0])
                stack.append(iter(ways.get(step[0], ())))
                longest.append(0)
            else:
                longest[-1] = max(longest[-1], depth[step[0]] + 1)
        if depth[start] > MAX_WAYS:
            message = f"calls to {start} may be sent on {depth[start]} times, the most is {MAX_WAYS}"
            report.add("entry.chain", draft.mark("entry_points", start, at_key=True), message, "shorten the chain")


def depth_of(depth: dict[str, int], ways: dict[str, list[tuple[str, tuple[str | int, ...]]]], name: str) -> int:
    """How far calls may be sent on from an entry point, as far as its ways are known."""
    return max((depth[target] + 1 for target, _ in ways.get(name, ()) if target in depth), default=0)


# -- overlays, switches, send, names ---------------------------------------------------------------------------------------------


def _check_overlays(draft: Draft, report: Report) -> None:
    for name, overlay in draft.overlays.items():
        for place, treatment in overlay.entry_points.items():
            mark = draft.mark("overlays", name, "entry_points", place, at_key=True)
            if place != EVERYWHERE and place not in draft.names("entry_points"):
                hint = did_you_mean(place, draft.names("entry_points"))
                report.add("plan.unknown-name", mark, f"no entry point is called {place}", hint)
            elif treatment.to is not None and treatment.to.entry_point == place:
                report.add("entry.circle", mark, f"{name} sends calls of {place} to {place}", "name another place")


def _check_switches(draft: Draft, report: Report) -> None:
    for name, switch in draft.switches.items():
        place = ("switches", name, "match")
        all_known(draft, report, "entry_points", "entry point", switch.match.entry_point, *place, "entry_point")
        all_known(draft, report, "continuity_groups", "continuity group", switch.match.group, *place, "group")
        all_known(draft, report, "trunks", "trunk", switch.match.trunk, *place, "trunk")
        all_known(draft, report, "tenants", "tenant", switch.match.tenant, *place, "tenant")
        target = switch.to.entry_point if switch.to is not None else None
        if target is not None and target in (switch.match.entry_point or ()):
            mark = draft.mark("switches", name, "to", "entry_point")
            report.add("entry.circle", mark, f"{name} sends calls of {target} to {target}", "name another place")


def _check_send(draft: Draft, report: Report) -> None:
    labels = {label for entry in draft.entry_points.values() for label in entry.labels}
    for name, pair in draft.sbc_pairs.items():
        send = pair.send
        if send is None:
            continue
        if send.country is not None and not phonenumbers.country_code_for_region(send.country):
            place = draft.mark("sbc_pairs", name, "send", "country")
            hint = did_you_mean(send.country, phonenumbers.SUPPORTED_REGIONS)
            report.add("send.country", place, f"{send.country} is no country with telephone numbers", hint)
        if "national" in (send.called, *placeholders(send.called)) and send.country is None:
            place = draft.mark("sbc_pairs", name, "send", "called")
            report.add("send.country", place, f"{name} is sent national numbers of no country", "add country: DE (or another)")
        taken: dict[str, str] = {}
        for header, template in send.headers.set.items():
            place = draft.mark("sbc_pairs", name, "send", "headers", "set", header)
            if header.lower() in taken:
                report.add("send.header", place, f"{header} is set twice", "set it once")
            taken[header.lower()] = header
            for label in (one.removeprefix("label.") for one in placeholders(template) if one.startswith("label.")):
                if label not in labels and len(draft.entry_points) == len(draft.names("entry_points")):
                    report.add("send.label", place, f"no entry point has a label {label}", did_you_mean(label, labels))
        for at, header in enumerate(send.headers.remove):
            if header in taken:
                place = draft.mark("sbc_pairs", name, "send", "headers", "remove", at)
                report.add("send.header", place, f"{header} is set and removed", "what is set replaces what came in; remove this")


def _check_renamed(draft: Draft, report: Report) -> None:
    taken: dict[str, str] = {}
    for name, group in draft.continuity_groups.items():
        before = group.renamed_from
        if before is None:
            continue
        place = draft.mark("continuity_groups", name, "renamed_from")
        if before in draft.names("continuity_groups"):
            report.add("group.renamed", place, f"there still is a group {before}", "remove renamed_from, or that group")
        if before in taken:
            report.add("group.renamed", place, f"{taken[before]} was {before} too", "only one group can go on as it")
        taken.setdefault(before, name)
