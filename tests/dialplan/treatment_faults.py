"""Faulty schedules, exits, splits, overlays, switches and `send`: read by test_faulty_plans.py."""

# ruff: noqa: E501 - a table of plans reads better with one fault in a line

from __future__ import annotations

Swaps = list[tuple[str, str]]

SECTION = "tests:\n"  # new sections stand before it
SALES = "  sales:\n    group: acme\n"
SUPPORT = "  support:\n    group: acme\n"
OUT = """\
  out:
    sbcs:
      out-a: {uri: "sip:10.6.1.11:5060"}
      out-b: {uri: "sip:10.6.1.12:5060"}
"""
EXIT = 'exits:\n  pstn: {sbc_pair: out, allow: ["+49."], max_calls: 5}\n'
TENANTS = "tenants:\n  prod"


def hours(line: str) -> Swaps:
    """A schedule with this line in it, kept by sales."""
    schedule = f'schedules:\n  shop:\n    zone: Europe/Berlin\n    open: ["Mon-Fri 08:00-18:00"]\n{line}'
    return [(SECTION, schedule + SECTION), (SALES, SALES + "    schedule: shop\n    closed: {refuse: 480}\n"), AT]


AT = ("    trunk: one\n", '    trunk: one\n    at: "2026-11-18 12:00 Europe/Berlin"\n')


def sales(*lines: str) -> tuple[str, str]:
    """Further keys of sales."""
    return SALES, SALES + "".join(f"    {line}\n" for line in lines)


def with_exit(*more: tuple[str, str], exits: str = EXIT) -> Swaps:
    """An exit through a pair of its own."""
    return [(TENANTS, OUT + TENANTS), (SECTION, exits + SECTION), *more]


TREATMENT_FAULTS: dict[str, Swaps] = {
    # schedules
    "hours no clock shows": [*hours("    # window\n"), ('open: ["Mon-Fri 08:00-18:00"]', 'open: ["Mon-Fri 08:00-25:00"] # ! schedule.window')],
    "hours of a day that is not": [*hours(""), ("Mon-Fri 08:00-18:00\"]", "Mo-Fr 08:00-18:00\"] # ! schedule.window")],
    "hours that last no time": [*hours(""), ("Mon-Fri 08:00-18:00\"]", "Mon 08:00-08:00\"] # ! schedule.window")],
    "a day named twice in one window": [*hours(""), ("Mon-Fri 08:00-18:00\"]", "Mon-Fri,Tue 08:00-18:00\"] # ! schedule.window")],
    "the 30th of February": hours('    closed: ["2026-02-30"] # ! schedule.date\n'),
    "dates that run backwards": hours('    closed: ["2026-12-31..2026-12-24"] # ! schedule.date\n'),
    "a zone that does not exist": [*hours(""), ("zone: Europe/Berlin", "zone: Europe/Berlim # ! schedule.zone")],
    "a zone that is no name at all": [*hours(""), ("zone: Europe/Berlin", "zone: ../etc/passwd # ! schedule.zone")],
    "holidays of nowhere": hours("    holidays: XX # ! schedule.holidays\n"),
    "holidays of a part that is not": hours("    holidays: [DE-QQ] # ! schedule.holidays\n"),
    "a schedule nobody defined": [sales("schedule: shop # ! plan.unknown-name", "closed: {refuse: 480}")],
    "hours without closed": [*hours("")[:1], sales("schedule: shop # ! entry.closed"), AT],
    "closed without hours": [sales("closed: {refuse: 480} # ! entry.closed")],
    # where calls go instead
    "neither to nor refuse": [sales("unusable: {} # ! to.place")],
    "to and refuse at once": [sales("unusable: {refuse: 480, to: {entry_point: support}} # ! to.place")],
    "a place that is none": [sales("overflow: [{called: \"1\"}] # ! to.place")],
    "two places at once": [sales("overflow: [{entry_point: support, sbc_pair: ams}] # ! to.place")],
    "a number without its exit": [sales("overflow: [{number: \"+4969555000\"}] # ! to.place")],
    "an exit without a number": with_exit(sales("overflow: [{exit: pstn}] # ! to.place")),
    "a cause without a refusal": [sales("unusable: {cause: 17, to: {entry_point: support}} # ! to.place")],
    "an unknown entry point": [sales("overflow: [{entry_point: supprt}] # ! plan.unknown-name")],
    "an unknown pair": [sales("unusable: {to: {sbc_pair: ansage}} # ! plan.unknown-name")],
    "a line break in what is dialled": [sales("unusable: {to: {sbc_pair: ams, called: \"a\\r\\nX: y\"}} # ! plan.bad-value")],
    "a line break in a label": [sales("labels: {dept: \"a\\r\\nX-Evil: y\"} # ! plan.bad-value")],
    "a circle of two": [sales("overflow: [{entry_point: support}]"), (SUPPORT, SUPPORT + "    unusable: {to: {entry_point: sales}} # ! entry.circle\n")],
    "a circle of one": [sales("unusable: {to: {entry_point: sales}} # ! entry.circle")],
    "a chain that is too long": [
        ("  support:\n", "".join(f"  e{at}:{' # ! entry.chain' if at == 0 else ''}\n    group: acme\n    numbers: [\"+49309{at}\"]\n    overflow: {{entry_point: e{at + 1}}}\n" for at in range(9)) + "  e9: {group: acme, numbers: [\"+493099\"]}\n  support:\n"),
    ],
    # groups
    "neither group nor split": [(SALES, "  sales: # ! entry.group\n")],
    "group and split": [(SALES, "  sales: # ! entry.group\n    group: acme\n    split: {acme: 100%}\n")],
    "shares that are not 100%": [(SALES, "  sales:\n    split: {acme: 90%} # ! entry.split\n")],
    "a split among unknown groups": [(SALES, "  sales:\n    split: {acne: 100%} # ! plan.unknown-name\n")],
    "a group renamed although the old one stands": [("failover: automatic", "failover: automatic\n    renamed_from: acme # ! group.renamed")],
    # exits
    "an exit through a tenant's pair": [(SECTION, 'exits:\n  pstn: {sbc_pair: ams, allow: ["+49."], max_calls: 5} # ! exit.shared-pair\n' + SECTION)],
    "past the exit": with_exit(sales("unusable: {to: {sbc_pair: out}} # ! exit.shared-pair")),
    "a number that may not leave": with_exit(sales("overflow: [{number: \"+88213\", exit: pstn}] # ! exit.not-allowed")),
    "a number that leads back": with_exit(sales("overflow: [{number: \"+4930901900\", exit: pstn}] # ! exit.own-number")),
    "a number that is a pattern": with_exit(sales("overflow: [{number: \"+4969555XXX\", exit: pstn}] # ! exit.number")),
    "a number without plus": with_exit(sales("overflow: [{number: \"4969555\", exit: pstn}] # ! exit.number")),
    "an exit that allows what is no number": with_exit(exits='exits:\n  pstn: {sbc_pair: out, allow: ["49."], max_calls: 5} # ! exit.allow\n'),
    "an exit without a limit": with_exit(exits='exits:\n  pstn: {sbc_pair: out, allow: ["+49."]} # ! plan.missing-key\n'),
    # overlays and switches
    "an overlay of an unknown entry point": [(SECTION, "overlays:\n  night: {entry_points: {supprt: {refuse: 480}}} # ! plan.unknown-name\n" + SECTION)],
    "an overlay that leads to where it starts": [(SECTION, "overlays:\n  night: {entry_points: {sales: {to: {entry_point: sales}}}} # ! entry.circle\n" + SECTION)],
    "a switch that matches nothing": [(SECTION, "switches:\n  stop: {match: {}, refuse: 480} # ! switch.match\n" + SECTION)],
    "a switch of an unknown trunk": [(SECTION, "switches:\n  stop: {match: {trunk: two}, refuse: 480} # ! plan.unknown-name\n" + SECTION)],
    "a switch that leads to where it starts": [(SECTION, "switches:\n  stop: {match: {entry_point: sales}, to: {entry_point: sales}} # ! entry.circle\n" + SECTION)],
    # send
    "a placeholder nobody knows": [("    listen: inside\n", "    listen: inside\n    send: {headers: {set: {X-Who: \"{caller}\"}}} # ! send.placeholder\n")],
    "a brace alone": [("    listen: inside\n", "    listen: inside\n    send: {headers: {set: {X-Who: \"{called\"}}} # ! send.placeholder\n")],
    "a header that carries the call": [("    listen: inside\n", "    listen: inside\n    send: {headers: {set: {Via: \"x\"}}} # ! send.header\n")],
    "a header set and removed": [("    listen: inside\n", "    listen: inside\n    send: {headers: {set: {X-Who: \"x\"}, remove: [x-who]}} # ! send.header\n")],
    "a line break in a header": [("    listen: inside\n", "    listen: inside\n    send: {headers: {set: {X-Who: \"x\\r\\ny\"}}} # ! plan.bad-value\n")],
    "a number sent in no form": [("    listen: inside\n", "    listen: inside\n    send: {called: \"02#\"} # ! send.called\n")],
    "national numbers of no country": [("    listen: inside\n", "    listen: inside\n    send: {called: national} # ! send.country\n")],
    # tests
    "a test that depends on the time and does not say it": [*hours("")[:2], ("    call: \"+4930901820\"\n", "    call: \"+4930901820\" # ! test.needs-at\n")],
    "a time without a zone where there is no schedule": [("    trunk: one\n", "    trunk: one\n    at: \"2026-11-18 12:00\" # ! test.at\n")],
    "a time the clocks skip": [*hours("")[:2], ("    trunk: one\n", "    trunk: one\n    at: \"2026-03-29 02:30 Europe/Berlin\" # ! test.at\n")],
    "a test with an overlay nobody defined": [("    trunk: one\n", "    trunk: one\n    given: {overlays: [night]} # ! plan.unknown-name\n")],
    "a test with calls nobody counts": [("    trunk: one\n", "    trunk: one\n    given: {calls: {nobody: 5}} # ! plan.unknown-name\n")],
    "a file of tests that is not there": [(SECTION, "tests_file: nowhere.csv # ! file.missing\n" + SECTION)],
    "a header that carries the call, removed": [("    listen: inside\n", "    listen: inside\n    send: {headers: {remove: [Call-ID]}} # ! send.header\n")],
    "a test for a header that does not leave": [("    expect: {entry_point: sales, tenant: prod}", "    expect: {headers: {X-Dept: sales}} # ! test.failed")],
    "a test for a header with no name": [("    expect: {entry_point: sales, tenant: prod}", "    expect: {headers: {\"X Dept\": sales}} # ! plan.bad-value")],
    "a refusal that is none": [("    expect: {entry_point: sales, tenant: prod}", "    expect: {refused: 99} # ! plan.bad-value")],
    "a time no clock shows": [("    trunk: one\n", "    trunk: one\n    at: \"2026-11-18 25:00\" # ! test.at\n")],
}  # fmt: skip

TREATMENT_WARNINGS: dict[str, Swaps] = {
    "windows that share hours": [*hours(""), ("Mon-Fri 08:00-18:00\"]", "Mon-Fri 08:00-18:00\", \"Fri 17:00-20:00\"] # ! schedule.overlap")],
    "hours nobody keeps": [(SECTION, "schedules:\n  shop: # ! schedule.unused\n    zone: UTC\n    open: Mon 08:00-09:00\n" + SECTION)],
    "a header with a label nobody has": [("    listen: inside\n", "    listen: inside\n    send: {headers: {set: {X-Who: \"{label.who}\"}}} # ! send.label\n")],
}  # fmt: skip
