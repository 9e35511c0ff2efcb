"""Explanations of findings about files, YAML, keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sipctl.dialplan.lint.example import Example, Explanation, explain

_OVER_16_MIB: Final = (16 << 20) + 1
_TOO_MANY: Final = 100_001
_LAST_ID: Final = (1 << 24) - 1
_GROUP: Final = "continuity_groups:\n  acme: {{primary: prod, bcp: bcp, failover: {}}}\n"
_LIMIT: Final = "limits: {{max_call_age: {}}}\n"


def _too_large() -> dict[str, bytes]:
    return {"dialplans/big.yaml": b"# " + b"x" * _OVER_16_MIB}


def _too_many() -> dict[str, bytes]:
    return {"sbc_configs/big.yaml": b"sites: [" + b"a," * _TOO_MANY + b"]"}


def _not_utf8() -> dict[str, bytes]:
    text = 'entry_points:\n  sales: {group: acme, numbers: ["+4930901820"], labels: {town: "Köln"}}\n'
    return {"dialplans/example.yaml": text.encode("latin-1")}


def _many_errors() -> dict[str, bytes]:
    rows = "".join(f"+49309018x{number},sales\n" for number in range(300))
    return {
        "dialplans/example.yaml": b"number_files: [{file: numbers.csv}]\n",
        "dialplans/numbers.csv": f"number,entry_point\n{rows}".encode(),
    }


def _many_warnings() -> dict[str, bytes]:
    sources = "".join(f"  t{at}: {{sources: [0.0.0.0/0], match: {{tgrp: t{at}}}}}\n" for at in range(300))
    return {"sbc_configs/example.yaml": f"trunks:\n{sources}".encode()}


FILES: Final[Mapping[str, Explanation]] = {
    "file.too-large": explain(
        "A file of this size is no plan somebody wrote; reading it would take memory from the calls. Numbers belong into CSV.",
        Example("a YAML file of more than 16 MiB", made=_too_large),
        "limits: {max_call_age: 12h}\n",
    ),
    "file.not-utf8": explain(
        "Any other encoding would be a guess, and a guessed name is another name.",
        Example('entry_points:\n  sales: {…, labels: {town: "K\\xf6ln"}}      saved as Latin-1', made=_not_utf8),
        'entry_points:\n  sales: {group: acme, numbers: ["+4930901820"], labels: {town: "Köln"}}\n',
    ),
    "file.ignored": explain(
        "The file looks like a part of the plan, and its numbers are not routed: usually it was meant to be named.",
        "# dialplans/numbers.csv\nnumber,entry_point\n+4930901821,sales\n",
        "number_files: [{file: numbers.csv}]\n# dialplans/numbers.csv\nnumber,entry_point\n+4930901821,sales\n",
    ),
    "file.missing": explain(
        "The numbers of that file would all be refused; so the whole plan is.",
        "number_files: [{file: numbrs.csv}]\n",
        "number_files: [{file: numbers.csv}]\n# dialplans/numbers.csv\nnumber,entry_point\n+4930901821,sales\n",
    ),
    "plan.empty": explain(
        "Half a plan routes nothing; most likely sipctl was started in the wrong folder.",
        Example("no file in dialplans/", made=dict, without=("continuity_groups", "entry_points")),
        "limits: {max_call_age: 12h}\n",
    ),
    "yaml.syntax": explain(
        "What comes behind the fault cannot be told from what it was meant to be.",
        "limits: {max_call_age: 12h\n",
        "limits: {max_call_age: 12h}\n",
    ),
    "yaml.duplicate-key": explain(
        "YAML readers keep one of the two and say nothing; which one is luck.",
        "limits:\n  max_call_age: 12h\n  max_call_age: 24h\n",
        "limits:\n  max_call_age: 12h\n",
    ),
    "yaml.anchor": explain(
        "Anchors make a line mean what stands elsewhere, and nested ones fill the memory. `defaults` does what they are for.",
        "tenants:\n  prod: {reached_by: &way fra}\n  bcp: {reached_by: ams}\n",
        "tenants:\n  prod: {reached_by: fra}\n  bcp: {reached_by: ams}\n",
    ),
    "yaml.tag": explain(
        "A tag asks a reader to make something else of a value; in a plan every value is the text one sees.",
        "limits: {max_call_age: !!str 12h}\n",
        "limits: {max_call_age: 12h}\n",
    ),
    "yaml.too-deep": explain(
        "No key of a plan is so deep: the file is damaged, or made to exhaust its reader.",
        "limits: " + "[" * 20 + "]" * 20 + "\n",
        "limits: {max_call_age: 12h}\n",
    ),
    "yaml.too-many": explain(
        "So many values make every check slow; numbers belong into CSV, which takes millions.",
        Example("sites: [a,a,a,…]      more than 100,000 values in one YAML file, or next to nothing but commas", made=_too_many),
        "sites: {}\n",
    ),
    "yaml.documents": explain(
        "Readers stop at the first document, so the second would be ignored without a word.",
        "limits: {max_call_age: 12h}\n---\n{}\n",
        "limits: {max_call_age: 12h}\n",
    ),
    "yaml.not-a-map": explain(
        "A list has no names, and everything in a plan is found by its name.",
        "sites:\n  - frankfurt\n",
        "sites:\n  frankfurt: {}\n",
    ),
    "plan.unknown-key": explain(
        "A key nobody reads does nothing: a limit with a typing error is no limit.",
        _LIMIT.format("12h").replace("call_age", "call_aeg"),
        _LIMIT.format("12h"),
    ),
    "plan.missing-key": explain(
        "There is no sound default, so sipctl does not choose one: a group without `bcp` has nowhere to go.",
        "continuity_groups:\n  acme: {primary: prod, failover: automatic}\n",
        _GROUP.format("automatic"),
    ),
    "plan.empty-value": explain(
        "YAML reads nothing as null; whether that means none, all or the default would be a guess.",
        "limits:\n  max_call_age:\n",
        _LIMIT.format("12h"),
    ),
    "plan.not-built-yet": explain(
        "The key is reserved. Ignoring it would let you believe it works.",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28], match: {tls_name: sip.carrier.example}}\n",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28]}\n",
    ),
    "plan.defined-twice": explain(
        "Two files that define one name disagree sooner or later, and the order of files must never decide.",
        "# sbc_configs/one.yaml\nsites: {frankfurt: {}}\n# sbc_configs/two.yaml\nsites: {frankfurt: {}}\n",
        "# sbc_configs/one.yaml\nlimits: {max_call_age: 12h}\n# sbc_configs/two.yaml\nsites: {frankfurt: {}}\n",
    ),
    "plan.bad-name": explain(
        "Names stand in URLs, metrics, log lines and file names; other characters would break one of them.",
        "sites: {frankfurt/main: {}}\n",
        "sites: {frankfurt-main: {}}\n",
    ),
    "plan.bad-value": explain(
        "The value cannot be what the key holds, such as a map where text belongs.",
        "continuity_groups:\n  acme: {primary: [prod], bcp: bcp, failover: automatic}\n",
        _GROUP.format("automatic"),
    ),
    "plan.bad-choice": explain(
        "An unknown word cannot be followed; the nearest one that exists is in the hint.",
        _GROUP.format("automatik"),
        _GROUP.format("automatic"),
    ),
    "plan.bad-duration": explain(
        "A bare number hides its unit: 5 may be milliseconds to one reader and minutes to the next.",
        _LIMIT.format("12"),
        _LIMIT.format("12h"),
    ),
    "plan.bad-number": explain(
        "A limit that does not read would be no limit.",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28], max_calls: 2k}\n",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28], max_calls: 2000}\n",
    ),
    "plan.bad-flag": explain(
        "`yes`, `on` and `1` are true to some readers of YAML and text to others.",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28], overlap: yes}\n",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28], overlap: true}\n",
    ),
    "plan.bad-share": explain(
        "10 may be ten percent or ten calls; with its sign it is one thing.",
        "continuity_groups:\n  acme: {primary: prod, bcp: bcp, failover: automatic, ramp: [10, 100%]}\n",
        "continuity_groups:\n  acme: {primary: prod, bcp: bcp, failover: automatic, ramp: [10%, 100%]}\n",
    ),
    "plan.bad-address": explain(
        "An address that does not read cannot be called, and a network with host bits is one of two different things.",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.5/28]}\n",
        "trunks:\n  carrier: {listen: outside, sources: [198.51.100.0/28]}\n",
    ),
    "plan.unknown-name": explain(
        "Something points at nothing; its calls would have nowhere to go.",
        "continuity_groups:\n  acme: {primary: prod, bcp: bpc, failover: automatic}\n",
        _GROUP.format("automatic"),
    ),
    "plan.secret": explain(
        "Every revision of a plan is kept for good and shown to everybody who may read it; a secret in it is one no longer.",
        'entry_points:\n  sales: {group: acme, numbers: ["+4930901820"], labels: {api_key: 8f14e45fceea167a5a36dedd4bea2543}}\n',
        'entry_points:\n  sales: {group: acme, numbers: ["+4930901820"], labels: {dept: sales}}\n',
    ),
    "plan.ids": explain(
        "Every name keeps its number for ever, in route tokens and call records; after 16 million names none is left.",
        Example(_LIMIT.format("12h"), ids={"tenant": {"the last one": _LAST_ID}}),
        _LIMIT.format("12h"),
    ),
    "plan.too-many-findings": explain(
        "A thousand findings have one cause. Mend the first and look again.",
        Example("a number file with 300 bad rows (so number.bad is listed as well)", made=_many_errors),
        _LIMIT.format("12h"),
    ),
    "plan.more-findings": explain(
        "A thousand warnings have one cause. Mend or allow the first and look again.",
        Example("300 trunks open to the world (so trunk.open is listed as well)", made=_many_warnings),
        _LIMIT.format("12h"),
    ),
    "allow.bad": explain(
        "Who reads the plan next year must learn why a finding was let stand; and what stops a plan cannot be waved through.",
        "limits: {max_call_age: 12h} # sipctl: allow pair.single\n",
        "limits: {max_call_age: 12h} # a day's work\n",
    ),
    "allow.unused": explain(
        "The fault is mended, the comment stayed: it would hide the next one.",
        "limits: {max_call_age: 12h} # sipctl: allow pair.single -- the second box comes in May\n",
        "limits: {max_call_age: 12h}\n",
    ),
}
