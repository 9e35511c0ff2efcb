"""What `diff` says of edits people make: the sound plan before, an edit of it after."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.diff import diff_plans, sentences
from sipctl.dialplan.diff_facts import SECTIONS
from sipctl.dialplan.diff_model import PlanDiff
from sipctl.dialplan.diff_text import body
from sipctl.routing.snapshot import Topology
from sipctl.routing.table import Table, load_table
from tests.dialplan.support import plan

Swap = tuple[str, str]

SALES = '  sales:\n    group: acme\n    numbers: ["+4930901820", "+4930901821XX"]\n'
GROUP = "    failover: automatic\n"
HOURS = 'schedules:\n  branch: {zone: Europe/Berlin, open: ["Mon-Sun 08:00-20:00"]}\ncontinuity_groups:\n'
OVERLAY = 'overlays:\n  emergency: {entry_points: {"*": {to: {entry_point: support}}}}\ncontinuity_groups:\n'
SCHEDULED: tuple[Swap, ...] = (
    ("continuity_groups:\n", HOURS),
    ("  sales:\n    group: acme\n", "  sales:\n    group: acme\n    schedule: branch\n    closed: {refuse: 480}\n"),
)


def table(*swaps: Swap) -> Table:
    made = compile_plan(plan(*swaps), {}, revision=1, tests=False)
    assert made.image, made.findings
    return load_table(made.image)


def compared(after: tuple[Swap, ...], before: tuple[Swap, ...] = ()) -> PlanDiff:
    return diff_plans(table(*before), table(*after))


ONE_LINE: dict[str, tuple[tuple[Swap, ...], str]] = {
    "numbers that leave": (
        (('"+4930901821XX"]', '"+49309018219X"]'),),
        "90 numbers of sales are in no entry point any more: refused with 404: +493090182100..+493090182189",
    ),
    "a number that comes": (
        (('"+4930901821XX"]', '"+4930901821XX", "+4930901999"]'),),
        "1 number is new: routed to sales: +4930901999",
    ),
    "a private number that comes": (
        (('"5501"]', '"5501", lobby]'),),
        "1 private number is new: routed to support (calls by trunk pbx): lobby",
    ),
    "a number of its own at BCP": (
        ((SALES, SALES + '    called_at: {bcp: "+312055501XX"}\n'),),
        "101 numbers of sales get a number of their own at the BCP tenant: +4930901820: +4930901820 → +31205550120, "
        "+493090182100: +493090182100 → +31205550100",
    ),
    "an allow-list": (
        ((SALES, SALES + "    trunks: [pbx]\n"),),
        "101 numbers of sales can no longer be called: refused with 404 (calls by trunk one): "
        "+4930901820, +493090182100..+493090182199",
    ),
    "a limit": (
        ((SALES, SALES + "    max_calls: 50\n"),),
        "101 numbers of sales: max_calls none → 50: +4930901820, +493090182100..+493090182199",
    ),
    "opening hours": (
        SCHEDULED,
        "101 numbers of sales: daily 20:00-08:00 (Europe/Berlin) open → refused with 480 (cause 41): "
        "+4930901820, +493090182100..+493090182199",
    ),
    "a way that comes last": (
        (("reached_by: [fra]", "reached_by: [fra, ams]"),),
        "102 numbers of sales, support: ways to the primary fra → fra, ams: "
        "+4930901820, +4930901900, +493090182100..+493090182199",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_LINE)
def test_an_edit_is_told_in_terms_of_calls(name: str) -> None:
    swaps, wanted = ONE_LINE[name]
    assert wanted in sentences(compared(swaps))


def test_numbers_that_lose_their_bcp_number_are_counted() -> None:
    own = ((SALES, SALES + '    called_at: {bcp: "+31205550100"}\n'),)
    assert sentences(compared((), own)) == [
        "101 numbers of sales lose their own number at the BCP tenant: the called number is dialled there: "
        "+4930901820: +31205550100 → +4930901820, +493090182100: +31205550100 → +493090182100"
    ]


def test_moved_numbers_name_both_entry_points_and_what_else_differs_there() -> None:
    moved = (('"+4930901820", "+4930901821XX"]', '"+4930901820"]\n    max_calls: 9'), ('"5501"]', '"5501", "+4930901821XX"]'))
    told = sentences(compared(moved))
    assert told[0] == "100 numbers move from sales to support; treated alike: +493090182100..+493090182199"
    assert told[1] == "1 number of sales: max_calls none → 9: +4930901820"


def test_the_windows_that_differ_are_told_not_the_schedules() -> None:
    longer = (("continuity_groups:\n", HOURS.replace("20:00", "22:00").replace("]}", '], closed: ["2026-12-24"]}')), SCHEDULED[1])
    assert sentences(compared(longer, SCHEDULED)) == [
        "101 numbers of sales: daily 20:00-22:00 (Europe/Berlin) refused with 480 (cause 41) → open; "
        "on 2026-12-24 by the hours → refused with 480 (cause 41): +4930901820, +493090182100..+493090182199"
    ]


def test_hours_of_two_zones_are_told_whole() -> None:
    london = (("continuity_groups:\n", HOURS.replace("Berlin", "London")), SCHEDULED[1])
    (told,) = sentences(compared(london, SCHEDULED))
    assert "hours daily 08:00-20:00 Europe/Berlin, else refused" in told and "→ daily 08:00-20:00 Europe/London" in told


def test_a_place_that_calls_are_sent_to_counts_for_those_who_lead_there() -> None:
    night = ("closed: {refuse: 480}", "closed: {to: {entry_point: support}}")
    before = (SCHEDULED[0], (SCHEDULED[1][0], SCHEDULED[1][1].replace(*night)))
    after = (*before, ("    trunks: [one, pbx]\n", "    trunks: [one, pbx]\n    max_calls: 7\n"))
    told = sentences(compared(after, before))
    assert "101 numbers of sales: entry point support max_calls none → 7: +4930901820, +493090182100..+493090182199" in told
    assert "1 number of support: max_calls none → 7: +4930901900" in told


def test_an_overlay_is_told_when_it_is_new_and_by_its_numbers_when_it_changes() -> None:
    assert sentences(compared((("continuity_groups:\n", OVERLAY),))) == [
        "overlay emergency is new: everywhere entry point support"
    ]
    other = OVERLAY.replace("{to: {entry_point: support}}", "{refuse: 503}")
    told = sentences(compared((("continuity_groups:\n", other),), (("continuity_groups:\n", OVERLAY),)))
    assert told[0].startswith("102 numbers of sales, support: overlay emergency leads to entry point support → refused with 503")


OTHER: dict[str, tuple[Swap, str]] = {
    "a listen": (
        ("203.0.113.9:5060", "203.0.113.9:5070"),
        "listen outside: port 5060 → 5070; advertise_port 5060 → 5070 (needs a restart)",
    ),
    "sources": (("198.51.100.0/28", "198.51.100.0/27"), "trunk one: sources [198.51.100.0/28] → [198.51.100.0/27]"),
    "a limit of the node": (("max_call_age: 12h", "max_call_age: 90m"), "limits: max_call_age 12h → 90m"),
    "how long call records are kept": (("max_call_age: 12h", "max_call_age: 12h, cdr_days: 90"), "limits: cdr_days none → 90"),
    "when a second person is needed": (
        ("max_call_age: 12h", "max_call_age: 12h, approval_above: 30%"),
        "limits: approval above_percent none → 30",
    ),
    "probe timings": (
        ("    listen: inside\n", "    listen: inside\n    probe: {interval: 5s}\n"),
        "pair fra: probe interval 2s → 5s",
    ),
    "the policy of a group": ((GROUP, GROUP + "    hold_off: 9s\n"), "group acme: hold_off 5s → 9s"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_about_numbers_is_told_as_well(name: str) -> None:
    swap, wanted = OTHER[name]
    diff = compared((swap,))
    assert sentences(diff) == [wanted] and diff.numbers == 0 and not diff.is_empty
    assert diff.needs_restart == wanted.endswith("(needs a restart)")


def test_every_part_of_a_topology_is_compared() -> None:
    plain = {"revision", "node", "max_call_age_s", "cdr_days", "approval"}  # the last three are facts of "limits"
    assert {field.name for field in fields(Topology)} - plain == {section for _, section in SECTIONS}


def test_a_renamed_group_is_one_group() -> None:
    renamed = [(f"  {name}:\n    group: acme", f"  {name}:\n    group: claims") for name in ("sales", "support")]
    told = sentences(compared((("  acme:\n", "  claims:\n    renamed_from: acme\n"), *renamed)))
    assert "group claims was acme" in " ".join(told) and "is gone" not in " ".join(told)


def test_comments_formatting_and_order_are_no_difference() -> None:
    swapped = (("    primary: prod\n    bcp: bcp\n", "    bcp: bcp  # the other one\n    primary: prod\n"),)
    assert compared(swapped).is_empty


def test_sentences_are_bounded_and_say_what_they_leave_out() -> None:
    edit = (OTHER["sources"][0], OTHER["a listen"][0], OTHER["a limit of the node"][0], ONE_LINE["numbers that leave"][0][0])
    told = sentences(compared(edit), 1)
    assert len(told) == 2 and told[1] == "… and 3 more changes (some need a restart)"


def test_json_has_every_interval_and_what_is_left_out_of_wide_ones() -> None:
    wide = ('"+4930901821XX"]', '"+49301XXXXXXX"]\n    called_at: {bcp: "+312055501XX"}')
    wider = ('"+4930901821XX"]', '"+49301XXXXXXX"]\n    called_at: {bcp: "+3120555012X"}')
    made = body(compared((wider,), (wide,)))
    (change,) = [one for one in made["changes"] if one["kind"] == "dialled"]
    interval = change["intervals"][-1]
    assert (interval["first"], interval["last"], interval["count"]) == ("+493010000000", "+493019999999", 9_000_000)
    assert interval["but_not_ending"] == ["20", "29"]
    bounded = body(compared((wider,), (wide,)), 0)["changes"][0]
    assert bounded["intervals"] == [] and bounded["intervals_left_out"] == len(change["intervals"])
