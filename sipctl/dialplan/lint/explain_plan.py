"""Explanations of findings about groups, entry points, numbers, number files and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sipctl.dialplan.lint.example import Explanation, explain

_GROUP: Final = "continuity_groups:\n  acme: {{primary: prod, bcp: {}, failover: automatic{}}}\n"
_SOUND_GROUP: Final = _GROUP.format("bcp", "")
_SALES: Final = "entry_points:\n  sales: {{group: acme, numbers: [{}]{}}}\n"
_SUPPORT: Final = "  support: {{group: acme, numbers: [{}]{}}}\n"
_FILE: Final = "number_files: [{file: numbers.csv}]\n# dialplans/numbers.csv\nnumber,entry_point\n"
_TEST: Final = 'tests:\n  - name: sales goes to the primary\n    call: "+4930901820"\n'
_PAIRS: Final = (
    'sbc_pairs:\n  fra:\n    site: {}\n    sbcs:\n      fra-a: {{uri: "sip:10.4.1.11"}}\n      fra-b: {{uri: "sip:10.4.1.12"}}\n'
    '  ams:\n    site: {}\n    sbcs:\n      ams-a: {{uri: "sip:{}"}}\n      ams-b: {{uri: "sip:10.5.1.12"}}\n'
)
_SITES: Final = "sites: {frankfurt: {}, amsterdam: {}}\ntrunks:\n  carrier: {site: frankfurt, sources: [198.51.100.0/28]}\n"

PLAN: Final[Mapping[str, Explanation]] = {
    "group.same-tenant": explain(
        "What takes the primary down takes its only replacement down.", _GROUP.format("prod", ""), _SOUND_GROUP
    ),
    "group.shared-pair": explain(
        "Both tenants stand behind the same boxes: when these fail, there is nothing to fail over to.",
        "tenants:\n  prod: {reached_by: [fra]}\n  bcp: {reached_by: [ams, {sbc_pair: fra, port: 5071}]}\n",
        "tenants:\n  prod: {reached_by: [fra]}\n  bcp: {reached_by: [ams]}\n",
    ),
    "group.same-host": explain(
        "Two pairs with SBCs on one machine: when it fails, it takes a part of both tenants down.",
        _PAIRS.format("default", "default", "10.4.1.11:5070"),
        _PAIRS.format("default", "default", "10.5.1.11:5070"),
    ),
    "group.same-site": explain(
        "A fire, a flood or a dead uplink of that site ends both tenants: BCP stands somewhere else.",
        _SITES + _PAIRS.format("frankfurt", "frankfurt", "10.5.1.11"),
        _SITES + _PAIRS.format("frankfurt", "amsterdam", "10.5.1.11"),
    ),
    "group.approval-unused": explain(
        "Somebody meant that a second person agrees to moves of this group; as it stands nobody is asked.",
        _GROUP.format("bcp", ", approval: {by: [admin]}"),
        _GROUP.format("bcp", ", approval: {moves: two-person, by: [admin]}"),
    ),
    "group.bcp-smaller": explain(
        "On the day it is needed the BCP tenant refuses the calls that the primary used to take.",
        "tenants:\n  prod: {reached_by: [fra], max_calls: 1500}\n  bcp: {reached_by: [ams], max_calls: 500}\n",
        "tenants:\n  prod: {reached_by: [fra], max_calls: 1500}\n  bcp: {reached_by: [ams], max_calls: 1500}\n",
    ),
    "group.ramp": explain(
        "A ramp leads back to the primary step by step; one that falls or stops early never arrives.",
        _GROUP.format("bcp", ", ramp: [50%, 10%, 100%]"),
        _GROUP.format("bcp", ", ramp: [10%, 50%, 100%]"),
    ),
    "entry.no-numbers": explain(
        "Nobody can call it: the numbers were forgotten, or its row names in the inventory are spelled otherwise.",
        _SALES.format('"+4930901820"', "") + _SUPPORT.format("", ""),
        _SALES.format('"+4930901820"', "") + _SUPPORT.format('"+4930901900"', ""),
    ),
    "entry.private": explain(
        "A number without + belongs to nobody until a trunk says whose private numbers it sends.",
        _SALES.format('"5501"', ""),
        "trunks:\n  pbx: {sources: [192.0.2.1], called_format: exact}\n" + _SALES.format('"5501"', ", trunks: [pbx]"),
    ),
    "entry.bcp-missing": explain(
        "Its neighbours have numbers of their own at the BCP tenant; this one would be dialled there with its everyday number, "
        "which that tenant most likely does not know.",
        _SALES.format('"+4930901820"', ', called_at: {bcp: "+31205550120"}') + _SUPPORT.format('"+4930901900"', ""),
        _SALES.format('"+4930901820"', ', called_at: {bcp: "+31205550120"}')
        + _SUPPORT.format('"+4930901900"', ', called_at: {bcp: "+31205550190"}'),
    ),
    "entry.max-calls": explain(
        "The SBCs are full before the entry point's limit is reached: the limit protects nothing.",
        "tenants:\n  prod: {reached_by: [fra], max_calls: 100}\n  bcp: {reached_by: [ams], max_calls: 100}\n"
        + _SALES.format('"+4930901820"', ", max_calls: 500"),
        "tenants:\n  prod: {reached_by: [fra], max_calls: 100}\n  bcp: {reached_by: [ams], max_calls: 100}\n"
        + _SALES.format('"+4930901820"', ", max_calls: 50"),
    ),
    "number.bad": explain(
        "A typing error in a number routes nothing, and the number it was meant to be is refused.",
        _SALES.format('"+4930901820", "+49309O1821"', ""),
        _SALES.format('"+4930901820"', ""),
    ),
    "number.separators": explain(
        "They are harmless here, but a hyphen inside a set such as [1-5] is not; plain digits cannot be misread.",
        _SALES.format('"+49 30 901820"', ""),
        _SALES.format('"+4930901820"', ""),
    ),
    "number.impossible": explain(
        "No number of that country has so many digits, or the country code does not exist: a digit is missing or one too many, "
        "and no call will ever arrive for it.",
        _SALES.format('"+4930901820", "+1212555010"', ""),
        _SALES.format('"+4930901820", "+12125550100"', ""),
    ),
    "number.duplicate": explain(
        "One number cannot belong to two; the order of lines must never decide where callers go.",
        _SALES.format('"+4930901820"', "") + _SUPPORT.format('"+4930901820"', ""),
        _SALES.format('"+4930901820"', "") + _SUPPORT.format('"+4930901821"', ""),
    ),
    "number.overlap": explain(
        "Both claim the same numbers with equal right; where callers go would be luck.",
        _SALES.format('"+4930901800..+4930901850"', "") + _SUPPORT.format('"+4930901850..+4930901899"', ""),
        _SALES.format('"+4930901800..+4930901849"', "") + _SUPPORT.format('"+4930901850..+4930901899"', ""),
    ),
    "number.shadowed": explain(
        "More precise entries take every number of it, so it decides nothing: it is a leftover, or the others are wrong.",
        _SALES.format('"+493090182X"', "") + _SUPPORT.format('"+4930901820..+4930901829"', ""),
        _SALES.format('"+49309018XX"', "") + _SUPPORT.format('"+4930901820..+4930901829"', ""),
    ),
    "number.too-wide": explain(
        "Free places before fixed digits stand for very many separate blocks, which cost memory in every router.",
        _SALES.format('"+4930901820", "+49XXXXX1"', ""),
        _SALES.format('"+49301XXXXX"', ""),
    ),
    "number.called-at": explain(
        "Xs copy the last digits of the called number; there must be as many, and nothing may stand behind them.",
        _SALES.format('"+4930901820"', ', called_at: {bcp: "+31XX5550"}'),
        _SALES.format('"+4930901820"', ', called_at: {bcp: "+312055501XX"}'),
    ),
    "except.unused": explain(
        "It takes nothing away: the number or the block has a typing error, and the number still goes where the block goes.",
        _SALES.format('"+49309018XX"', ', except: ["+4930901955"]'),
        _SALES.format('"+49309018XX"', ', except: ["+4930901855"]'),
    ),
    "csv.header": explain(
        "Columns are found by their names; a renamed column must not be guessed.",
        _FILE.replace("number,entry_point", "DID,entry_point") + "+4930901821,sales\n",
        _FILE + "+4930901821,sales\n",
    ),
    "csv.columns": explain(
        "A cell too many shifts all behind it: a remark becomes a number.",
        _FILE + "+4930901821,sales,12\n",
        _FILE + "+4930901821,sales\n",
    ),
    "csv.spreadsheet": explain(
        "The last digits are gone for good; the export must be made again with the column as text.",
        _FILE + "4.96922E+12,sales\n",
        _FILE + "+4930901821,sales\n",
    ),
    "csv.no-entry-point": explain(
        "These numbers are not routed. That may be meant, but a filter in the export looks the same.",
        _FILE + "+4930901821,\n",
        _FILE + "+4930901821,sales\n",
    ),
    "csv.syntax": explain(
        "An open quote swallows all rows behind it.", _FILE + '+4930901821,"sales\n', _FILE + '+4930901821,"sales"\n'
    ),
    "test.failed": explain(
        "A call would go elsewhere than the plan's author meant; such a plan is not applied.",
        _TEST + "    expect: {tenant: bcp}\n",
        _TEST + "    expect: {tenant: prod}\n",
    ),
    "test.trunk": explain(
        "Trunks differ in number form and rights, so one answer does not hold for all.",
        "trunks:\n  carrier: {sources: [198.51.100.0/28]}\n  pbx: {sources: [192.0.2.1]}\n"
        + _TEST
        + "    expect: {tenant: prod}\n",
        "trunks:\n  carrier: {sources: [198.51.100.0/28]}\n  pbx: {sources: [192.0.2.1]}\n"
        + _TEST
        + "    trunk: pbx\n    expect: {tenant: prod}\n",
    ),
    "test.given": explain(
        "A state that does not exist changes nothing, so the test would prove nothing.",
        _TEST + "    given: {tenants: {prod: dead}}\n    expect: {tenant: bcp}\n",
        _TEST + "    given: {tenants: {prod: out-of-service}}\n    expect: {tenant: bcp}\n",
    ),
    "test.given-idle": explain(
        "What is assumed does not touch the call: the test passes whatever becomes of what it was written for.",
        'sbc_pairs:\n  fra: {sbcs: {fra-a: {uri: "sip:10.4.1.11"}, fra-b: {uri: "sip:10.4.1.12"}}}\n'
        '  ams: {sbcs: {ams-a: {uri: "sip:10.5.1.11"}, ams-b: {uri: "sip:10.5.1.12"}}}\n'
        '  old: {sbcs: {old-a: {uri: "sip:10.6.1.11"}, old-b: {uri: "sip:10.6.1.12"}}}\n'
        "tenants:\n  prod: {reached_by: [fra]}\n  bcp: {reached_by: [ams]}\n  prod-old: {reached_by: [old]}\n"
        + _TEST
        + "    given: {tenants: {prod-old: out-of-service}}\n    expect: {entry_point: sales, tenant: prod}\n",
        _TEST + "    given: {tenants: {prod: out-of-service}}\n    expect: {entry_point: sales, tenant: bcp}\n",
    ),
    "test.nothing": explain(
        "Nothing is expected, so nothing is compared: it passes whatever the plan says.",
        _TEST + "    expect: {}\n",
        _TEST + "    expect: {tenant: prod}\n",
    ),
    "test.same": explain(
        "It asks what another test asks and expects the same: one of them was meant to be changed after it was copied.",
        _TEST
        + "    expect: {tenant: prod}\n"
        + _TEST.replace("tests:\n", "").replace("sales", "it")
        + "    expect: {tenant: prod}\n",
        _TEST + "    expect: {tenant: prod}\n",
    ),
}
