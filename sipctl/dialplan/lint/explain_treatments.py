"""Explanations of findings about schedules, exits, overlays, switches, and what an INVITE leaves with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from sipctl.dialplan.lint.example import Example, Explanation, explain

_SHOP: Final = "schedules:\n  shop: {{zone: {}, open: [{}]{}}}\n"
_HOURS: Final = '"Mon-Fri 08:00-18:00"'
_KEPT: Final = 'entry_points:\n  sales: {group: acme, numbers: ["+4930901820"], schedule: shop, closed: {refuse: 480}}\n'
_SOUND_SHOP: Final = _SHOP.format("Europe/Berlin", _HOURS, "") + _KEPT
_SALES: Final = 'entry_points:\n  sales: {{group: acme, numbers: ["+4930901820"], {}}}\n'
_SUPPORT: Final = '  support: {{group: acme, numbers: ["+4930901900"]{}}}\n'
_FRA: Final = '  fra:{}\n    sbcs:\n      fra-a: {{uri: "sip:10.4.1.11"}}\n      fra-b: {{uri: "sip:10.4.1.12"}}\n'
_AMS: Final = '  ams:\n    sbcs:\n      ams-a: {uri: "sip:10.5.1.11"}\n      ams-b: {uri: "sip:10.5.1.12"}\n'
_OUT: Final = '  out:\n    sbcs:\n      out-a: {uri: "sip:10.6.1.11"}\n      out-b: {uri: "sip:10.6.1.12"}\n'
_PAIRS: Final = f"sbc_pairs:\n{_FRA.format('')}{_AMS}{_OUT}"
_EXIT: Final = 'exits:\n  pstn: {{sbc_pair: {}, allow: ["{}"], max_calls: 50}}\n'
_SOUND_EXIT: Final = _PAIRS + _EXIT.format("out", "+49.")
_OVERFLOW: Final = 'overflow: [{{number: "{}", exit: pstn}}]'
_SOUND_OVERFLOW: Final = _SOUND_EXIT + _SALES.format(_OVERFLOW.format("+4969555000"))
_SEND: Final = "\n    send: {{{}}}"
_ROWS: Final = "tests_file: [tests.csv]\n# dialplans/tests.csv\nname,call,given,tenant\n"
_TEST: Final = 'tests:\n  - {{name: sales by day, call: "+4930901820", at: "{}", expect: {{tenant: prod}}}}\n'


def _sent(what: str) -> str:
    return f"sbc_pairs:\n{_FRA.format(_SEND.format(what))}{_AMS}"


def _chain(length: int) -> str:
    links = "".join(
        f'  e{at}: {{group: acme, numbers: ["+49309018{at}"], overflow: [{{entry_point: e{at + 1}}}]}}\n' for at in range(length)
    )
    return f'entry_points:\n{links}  e{length}: {{group: acme, numbers: ["+49309018{length}"]}}\n'


TREATMENTS: Final[Mapping[str, Explanation]] = {
    "schedule.window": explain(
        "Hours that do not read would be open always or never; both are wrong at some time of the week.",
        _SHOP.format("Europe/Berlin", '"Mo-Fr 8-18"', "") + _KEPT,
        _SOUND_SHOP,
    ),
    "schedule.date": explain(
        "The day would pass like any other, and callers would wait for people who are at home.",
        _SHOP.format("Europe/Berlin", _HOURS, ', closed: ["24.12.2026"]') + _KEPT,
        _SHOP.format("Europe/Berlin", _HOURS, ', closed: ["2026-12-24"]') + _KEPT,
    ),
    "schedule.zone": explain(
        "Without its zone an hour is no hour; CET, say, would be wrong for half of the year.",
        _SHOP.format("Europe/Berlim", _HOURS, "") + _KEPT,
        _SOUND_SHOP,
    ),
    "schedule.holidays": explain(
        "Public holidays differ by country and by part of it; none are known of this one.",
        _SHOP.format("Europe/Berlin", _HOURS, ", holidays: [DE-QQ]") + _KEPT,
        _SHOP.format("Europe/Berlin", _HOURS, ", holidays: [DE-BE]") + _KEPT,
    ),
    "schedule.overlap": explain(
        "Nothing breaks, but one of the two windows is not what somebody meant.",
        _SHOP.format("Europe/Berlin", f'{_HOURS}, "Fri 17:00-20:00"', "") + _KEPT,
        _SHOP.format("Europe/Berlin", f'{_HOURS}, "Fri 18:00-20:00"', "") + _KEPT,
    ),
    "schedule.horizon": explain(
        "Holidays are laid down year by year; behind the last year known, every holiday is a working day.",
        Example(
            _SHOP.format("Europe/Berlin", _HOURS, ", holidays: [DE-BE]") + _KEPT.rstrip() + "      in the year 2100\n",
            made=lambda: {
                "dialplans/example.yaml": (_SHOP.format("Europe/Berlin", _HOURS, ", holidays: [DE-BE]") + _KEPT).encode()
            },
            today=date(2100, 1, 1),
        ),
        _SHOP.format("Europe/Berlin", _HOURS, ", holidays: [DE-BE]") + _KEPT,
    ),
    "schedule.unused": explain(
        "Somebody wrote these hours for an entry point, and it is open day and night.",
        _SHOP.format("Europe/Berlin", _HOURS, "") + _KEPT.replace(", schedule: shop, closed: {refuse: 480}", ""),
        _SOUND_SHOP,
    ),
    "entry.group": explain(
        "Without a group its calls have no tenant; with a group and a split nobody knows which one counts.",
        'entry_points:\n  sales: {numbers: ["+4930901820"]}\n',
        'entry_points:\n  sales: {group: acme, numbers: ["+4930901820"]}\n',
    ),
    "entry.split": explain(
        "The callers beyond the last share would have nowhere to go.",
        'entry_points:\n  sales: {split: {acme: 90%}, numbers: ["+4930901820"]}\n',
        'entry_points:\n  sales: {split: {acme: 100%}, numbers: ["+4930901820"]}\n',
    ),
    "entry.closed": explain(
        "Hours without `closed` say nothing of the callers outside them; `closed` without hours never happens.",
        _SALES.format("closed: {refuse: 480}"),
        _SOUND_SHOP,
    ),
    "entry.circle": explain(
        "On a bad day a call would be sent from one to the other and back, for ever.",
        _SALES.format("overflow: [{entry_point: support}]") + _SUPPORT.format(", overflow: [{entry_point: sales}]"),
        _SALES.format("overflow: [{entry_point: support}]") + _SUPPORT.format(""),
    ),
    "entry.chain": explain(
        "A caller who is sent on so often waits for nothing; a router stops there too.",
        _chain(9),
        _chain(2),
    ),
    "to.place": explain(
        "A call goes to one place. Two contradict each other, none is nowhere.",
        _SALES.format("overflow: [{entry_point: support, sbc_pair: ams}]") + _SUPPORT.format(""),
        _SALES.format("overflow: [{entry_point: support}]") + _SUPPORT.format(""),
    ),
    "exit.allow": explain(
        "Toll fraud begins where the list of allowed numbers is not exact: only numbers with + are.",
        _PAIRS + _EXIT.format("out", "49."),
        _SOUND_EXIT,
    ),
    "exit.number": explain(
        "A call leaves to one number, written so that every carrier understands it alike.",
        _SOUND_EXIT + _SALES.format(_OVERFLOW.format("+4969555XXX")),
        _SOUND_OVERFLOW,
    ),
    "exit.not-allowed": explain(
        "The exit's list is what stands between a typing error and a premium number on the other side of the world.",
        _SOUND_EXIT + _SALES.format(_OVERFLOW.format("+88213000")),
        _SOUND_OVERFLOW,
    ),
    "exit.own-number": explain(
        "It would leave through one carrier only to come back through another, twice paid, and round again.",
        _SOUND_EXIT + _SALES.format(_OVERFLOW.format("+4930901900")) + _SUPPORT.format(""),
        _SOUND_EXIT + _SALES.format("overflow: [{entry_point: support}]") + _SUPPORT.format(""),
    ),
    "exit.shared-pair": explain(
        "A tenant's calls would get out past the exit's list and limit.",
        "sbc_pairs:\n" + _FRA.format("") + _AMS + _EXIT.format("ams", "+49."),
        _SOUND_EXIT,
    ),
    "switch.match": explain(
        "A kill switch that matches nothing stops nothing, on the one day it is needed.",
        "switches:\n  stop: {match: {}, refuse: 503}\n",
        "switches:\n  stop: {match: {trunk: carrier}, refuse: 503}\n",
    ),
    "send.placeholder": explain(
        "The tenant would receive the braces instead of what they stand for.",
        _sent('headers: {set: {X-Who: "{caller}"}}'),
        _sent('headers: {set: {X-Who: "{called}"}}'),
    ),
    "send.called": explain(
        "It is none of the forms a called number can be sent in, so every call would be refused there.",
        _sent('called: "02#"'),
        _sent('called: "02#{e164}"'),
    ),
    "send.country": explain(
        "A national number is a number only together with its country.",
        _sent("called: national"),
        _sent("called: national, country: DE"),
    ),
    "send.header": explain(
        "Via, Route, Call-ID and their like carry the call itself: changed by a plan, nobody could answer it.",
        _sent('headers: {set: {Via: "x"}}'),
        _sent('headers: {set: {X-Via: "x"}}'),
    ),
    "send.label": explain(
        "The header would be empty for every call: the label is spelled otherwise, or was removed.",
        _sent('headers: {set: {X-Dept: "{label.dpt}"}}') + _SALES.format("labels: {dept: sales}"),
        _sent('headers: {set: {X-Dept: "{label.dept}"}}') + _SALES.format("labels: {dept: sales}"),
    ),
    "group.renamed": explain(
        "State, holds and pins of the old name go to one group: not to two, and not while the old one lives on.",
        "continuity_groups:\n  acme: {primary: prod, bcp: bcp, failover: automatic, renamed_from: acme}\n",
        "continuity_groups:\n  acme: {primary: prod, bcp: bcp, failover: automatic, renamed_from: acme-old}\n",
    ),
    "test.needs-at": explain(
        "By day it passes, by night it fails: such a test says more of the clock than of the plan.",
        _SOUND_SHOP + _TEST.format("").replace('at: "", ', ""),
        _SOUND_SHOP + _TEST.format("2026-11-18 12:00 Europe/Berlin"),
    ),
    "test.file": explain(
        "A row that does not read tests nothing, and nobody would notice.",
        _ROWS + "sales,+4930901820,prod is dead,bcp\n",
        _ROWS + "sales,+4930901820,tenants.prod=out-of-service,bcp\n",
    ),
    "test.at": explain(
        "The test cannot ask about a time no clock shows, such as the hour skipped in spring.",
        _TEST.format("2026-11-18 25:00 Europe/Berlin"),
        _TEST.format("2026-11-18 12:00 Europe/Berlin"),
    ),
}
