"""Faulty plans: each gives exactly its codes at its lines, nothing else, and no image."""

# ruff: noqa: E501 - a table of plans reads better with one fault in a line

from __future__ import annotations

import pytest

from sipctl.dialplan.compile import compile_plan
from tests.dialplan.support import CSV, EDGE, PLAN, SOUND, expected, found, plan
from tests.dialplan.treatment_faults import TREATMENT_FAULTS, TREATMENT_WARNINGS

Swaps = list[tuple[str, str]]

# name → fragments replaced; the comment "# ! CODE" stands in the line where the finding must be
FAULTS: dict[str, Swaps] = {
    # YAML
    "a bracket that is not closed": [("primary: prod", "primary: [prod"), ("bcp: bcp\n", "bcp: bcp # ! yaml.syntax\n")],
    "a tab as indentation": [("    primary: prod", "\tprimary: prod # ! yaml.syntax")],
    "a key twice": [("    bcp: bcp\n", "    bcp: bcp\n    bcp: prod # ! yaml.duplicate-key\n")],
    "an anchor and an alias": [
        ("primary: prod", "primary: &p prod # ! yaml.anchor"),
        ("    bcp: bcp\n", "    bcp: *p # ! yaml.anchor plan.bad-name\n"),
    ],
    "a tag": [("failover: automatic", "failover: !!str automatic # ! yaml.tag")],
    "two documents": [("entry_points:\n", "--- # ! yaml.documents\nentry_points:\n")],
    "a section that is a list": [("tenants:\n  prod: {reached_by: [fra]}\n  bcp: {reached_by: ams}\n", "tenants:\n - prod # ! yaml.not-a-map\n"), ("    primary: prod", "    primary: prod # ! plan.unknown-name"), ("    bcp: bcp", "    bcp: bcp # ! plan.unknown-name"), ("tenant: prod}", "entry_point: sales}"), ("{entry_point: sales, ", "{"), ("  fra:\n", "  fra: # ! pair.unused\n"), ("  ams:\n", "  ams: # ! pair.unused\n")],
    # keys and values
    "an unknown section": [("limits: {max_call_age: 12h}", "limit: {max_call_age: 12h} # ! plan.unknown-key")],
    "a section of the other folder": [("limits: {max_call_age: 12h}", "entry_points: {} # ! plan.unknown-key")],
    "an unknown key": [("    bcp: bcp\n", "    bcp: bcp\n    fail_over: manual # ! plan.unknown-key\n")],
    "a missing key": [("  acme:\n", "  acme: # ! plan.missing-key\n"), ("    failover: automatic\n", "")],
    "a group without BCP": [("  acme:\n", "  acme: # ! plan.missing-key\n"), ("    bcp: bcp\n", "")],
    "an empty value": [("failover: automatic", "failover: # ! plan.empty-value")],
    "a quoted empty value": [("failover: automatic", 'failover: "" # ! plan.empty-value')],
    "an empty entry": [("  support:\n    group: acme\n    numbers: [\"+4930901900\", \"5501\"]\n    trunks: [one, pbx]\n", "  support: # ! plan.empty-value\n")],
    "a name with a slash": [("  sales:\n", "  sa/les: # ! plan.bad-name\n"), ("expect: {entry_point: sales, tenant: prod}", "expect: {tenant: prod}")],
    "a boolean that is no boolean": [("    listen: outside\n", "    listen: outside\n    overlap: yes # ! plan.bad-flag\n")],
    "a duration without unit": [("12h", "12"), ("limits: {max_call_age: 12}", "limits: {max_call_age: 12} # ! plan.bad-duration")],
    "a duration out of range": [("limits: {max_call_age: 12h}", "limits: {max_call_age: 2s} # ! plan.bad-duration")],
    "a number that is none": [("    listen: outside\n", "    listen: outside\n    max_calls: 2,000 # ! plan.bad-number\n")],
    "a share that is none": [("failover: automatic", "failover: automatic\n    ramp: [10, 100%] # ! plan.bad-share")],
    "a choice that is none": [("failover: automatic", "failover: automatik # ! plan.bad-choice")],
    "a format never heard of": [("    listen: outside\n", "    listen: outside\n    called_format: E164 # ! plan.bad-choice\n")],
    "a map where text belongs": [("primary: prod", "primary: {prod: 1} # ! plan.bad-value")],
    "advance_on with nonsense": [("    listen: inside\n", "    listen: inside\n    advance_on: [no-reply, 99] # ! plan.bad-value\n")],
    "a probe that is neither map nor off": [("    listen: inside\n", "    listen: inside\n    probe: never # ! plan.bad-value\n")],
    "what is not built yet": [
        ("    listen: outside\n", "    listen: outside\n    match: {tls_name: sip.one.example} # ! plan.not-built-yet\n"),
        ("failover: automatic", "failover: automatic\n    mode: b2bua # ! plan.not-built-yet"),
        ("limits: {max_call_age: 12h}", "nodes: {fra-1: {}} # ! plan.not-built-yet"),
        ("    bcp: bcp\n", "    bcp: bcp\n    rescue: {mode: auto} # ! plan.not-built-yet\n"),
    ],
    "a TLS bind": [("udp:10.1.0.5:5060", "tls:10.1.0.5:5061"), ("  inside: {bind: \"tls:10.1.0.5:5061\"}", "  inside: {bind: \"tls:10.1.0.5:5061\"} # ! plan.not-built-yet")],
    # addresses
    "a bind that is none": [("  inside: {bind: \"udp:10.1.0.5:5060\"}", "  inside: {bind: \"10.1.0.5:5060\"} # ! plan.bad-address")],
    "a wildcard without advertise": [("  inside: {bind: \"udp:10.1.0.5:5060\"}", "  inside: {bind: \"udp:0.0.0.0:5070\"} # ! listen.wildcard")],
    "advertise for another number of binds": [("  inside: {bind: \"udp:10.1.0.5:5060\"}", "  inside: {bind: \"udp:10.1.0.5:5060\", advertise: [a.example, b.example]} # ! listen.advertise")],
    "one bind twice": [("  inside: {bind: \"udp:10.1.0.5:5060\"}", "  inside: {bind: \"udp:203.0.113.9:5060\"} # ! listen.same-bind")],
    "a source with host bits": [("    sources: [198.51.100.0/28]", "    sources: [198.51.100.5/28] # ! plan.bad-address")],
    "no source at all": [("    sources: [198.51.100.0/28]", "    sources: [] # ! plan.bad-value")],
    "an SBC's URI with a user": [("\"sip:10.4.1.11:5060\"}", "\"sip:me@10.4.1.11\"} # ! plan.bad-address")],
    "an SBC over TLS": [("\"sip:10.4.1.11:5060\"}", "\"sips:10.4.1.11\"} # ! plan.not-built-yet")],
    "an SBC no listen can reach": [("\"sip:10.4.1.11:5060\"}", "\"sip:10.4.1.11;transport=tcp\"} # ! pair.no-listen")],
    "an SBC of the other family": [("\"sip:10.4.1.11:5060\"}", "\"sip:[2001:db8::1]\"} # ! pair.no-listen")],
    "two SBCs with one address": [("\"sip:10.5.1.11:5060\"}", "\"sip:10.4.1.11\"} # ! sbc.same-address")],
    "a port of reached_by that is another SBC's": [
        ("prod: {reached_by: [fra]}", "prod: {reached_by: [{sbc_pair: fra, port: 5071}]}"),
        ("\"sip:10.5.1.11:5060\"}", "\"sip:10.4.1.12:5071\"} # ! sbc.same-address"),
    ],
    "an SBC in two pairs": [("ams-a: {uri: \"sip:10.5.1.11:5060\"}", "fra-a: {uri: \"sip:10.5.1.11:5060\"} # ! plan.defined-twice")],
    "an SRV that is an address": [
        ("    sbcs:\n      ams-a: {uri: \"sip:10.5.1.11:5060\"}\n      ams-b: {uri: \"sip:10.5.1.12:5060\"}\n", "    srv: sip:10.5.1.11 # ! plan.bad-address\n")
    ],
    "a pair without SBCs": [("    sbcs:\n      ams-a: {uri: \"sip:10.5.1.11:5060\"}\n      ams-b: {uri: \"sip:10.5.1.12:5060\"}\n", "    shared_dialogs: true\n"), ("  ams:\n", "  ams: # ! pair.members\n")],
    # names
    "an unknown listen": [("    listen: outside\n", "    listen: outsied # ! plan.unknown-name\n")],
    "an unknown site": [("    listen: outside\n", "    listen: outside\n    site: berlin # ! plan.unknown-name\n")],
    "an unknown pair": [("bcp: {reached_by: ams}", "bcp: {reached_by: [amst]} # ! plan.unknown-name"), ("  ams:\n", "  ams: # ! pair.unused\n")],
    "an unknown tenant": [("    bcp: bcp\n", "    bcp: bcpp # ! plan.unknown-name\n")],
    "an unknown group": [("  sales:\n    group: acme", "  sales:\n    group: akme # ! plan.unknown-name")],
    "an unknown trunk": [("trunks: [one, pbx]", "trunks: [one, two, pbx] # ! plan.unknown-name")],
    "sites, but nobody says which": [
        ("limits: {max_call_age: 12h}", "sites: {a: {}, b: {}}"),
        ("  one:\n", "  one: # ! site.needed\n"),
        ("  pbx: {sources: [192.0.2.1], called_format: exact}", "  pbx: {sources: [192.0.2.1], called_format: exact, site: a}"),
        ("  fra:\n", "  fra: # ! site.needed\n"),
        ("  ams:\n", "  ams:\n    site: b\n"),
    ],
    "a pair reached twice": [("prod: {reached_by: [fra]}", "prod: {reached_by: [fra, fra]} # ! tenant.reach")],
    # trunks
    "two trunks one call could be": [("  pbx: {sources: [192.0.2.1], called_format: exact}", "  pbx: {sources: [198.51.100.0/28], called_format: exact} # ! trunk.ambiguous")],
    "two trunks with one condition each that may both hold": [
        ("    listen: outside\n", "    listen: outside\n    match: {tgrp: a}\n"),
        ("  pbx: {sources: [192.0.2.1], called_format: exact}", "  pbx: {sources: [198.51.100.0/28], called_format: exact, match: {called_prefix: \"9\"}} # ! trunk.ambiguous"),
    ],
    "national without a country": [("    listen: outside\n", "    listen: outside\n    called_format: national # ! trunk.country\n")],
    "a country that has no telephone": [("    listen: outside\n", "    listen: outside\n    country: XX # ! trunk.country\n")],
    # groups
    "primary and BCP the same": [("    bcp: bcp\n", "    bcp: prod # ! group.same-tenant\n")],
    "a ramp that does not grow": [("failover: automatic", "failover: automatic\n    ramp: [50%, 10%, 100%] # ! group.ramp")],
    "a ramp that ends early": [("failover: automatic", "failover: automatic\n    ramp: [10%, 50%] # ! group.ramp")],
    # numbers
    "a number twice in one list": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901900\", \"5501\", \"+4930901900\"] # ! number.duplicate")],
    "a number in two entry points": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901820\", \"5501\"] # ! number.duplicate")],
    "a private number twice": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"5501\", \"5501\"] # ! number.duplicate")],
    "a private word twice": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"a*1\", \"a*1\"] # ! number.duplicate")],
    "two ranges that overlap": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901900..+4930901910\", \"+4930901910..+4930901920\"] # ! number.overlap")],
    "two patterns of equal precedence": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+49309018X1XX\"] # ! number.overlap"), ("\"+4930901821XX\"]", "\"+493090182XXX\"]")],
    "a number without plus on E.164 trunks": [("trunks: [one, pbx]", "trunks: [one]"), ("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901900\", \"5501\"] # ! entry.private")],
    "a number with letters": [("\"+4930901900\"", "\"+49309019OO\""), ("\"+49309019OO\", \"5501\"]", "\"+49309019OO\", \"5501\"] # ! number.bad")],
    "a number with country code 0": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+0304567\", \"5501\"] # ! number.bad")],
    "a number with 16 digits": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+1234567890123456\", \"5501\"] # ! number.bad")],
    "a range that runs backwards": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901910..+4930901900\", \"5501\"] # ! number.bad")],
    "a range of two lengths": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+493090190..+4930901999\", \"5501\"] # ! number.bad")],
    "a dot in the middle": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+49309.1900\", \"5501\"] # ! number.bad")],
    "a set that runs backwards": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930[5-1]XX\", \"5501\"] # ! number.bad")],
    "a pattern in small letters": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+49309019xx\", \"5501\"] # ! number.bad")],
    "a pattern that explodes": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+49XXXXX1\", \"5501\"] # ! number.too-wide")],
    "called_at with Xs in the middle": [("    trunks: [one, pbx]\n", "    trunks: [one, pbx]\n    called_at: {bcp: \"+31XX5550\"} # ! number.called-at\n")],
    "called_at that copies more than there is": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901900\", \"5501\"] # ! number.called-at"), ("    trunks: [one, pbx]\n", "    trunks: [one, pbx]\n    called_at: {bcp: \"+3120XXXXX\"}\n"), ("  sales:\n", "  sales: # ! entry.bcp-missing\n")],
    "a number file that is not there": [("tests:\n", "number_files:\n  - file: nowhere.csv # ! file.missing\ntests:\n")],
    # tests
    "a test that fails in two ways": [("expect: {entry_point: sales, tenant: prod}", "expect: {entry_point: support, tenant: bcp} # ! test.failed test.failed")],
    "a test without trunk where there are two": [("  - name: sales goes to the primary\n", "  - name: sales goes to the primary # ! test.trunk\n"), ("    trunk: one\n", "")],
    "a test that assumes a state nobody has": [("    trunk: one\n", "    trunk: one\n    given: {sbcs: {fra-a: dead}} # ! test.given\n")],
    "a test that names what is not there": [("    trunk: one\n", "    trunk: one\n    given: {sbcs: {fra-x: unknown}, tenants: {x: disabled}} # ! plan.unknown-name plan.unknown-name\n")],
    "a test without expectation": [("  - name: sales goes to the primary\n", "  - name: sales goes to the primary # ! plan.missing-key\n"), ("    expect: {entry_point: sales, tenant: prod}\n", "")],
    # many at once
    "faults in several places, all told at once": [
        ("    listen: outside\n", "    listen: nowhere # ! plan.unknown-name\n    max_cps: 0 # ! plan.bad-number\n"),
        ("\"sip:10.4.1.11:5060\"}", "\"tel:10\"} # ! plan.bad-address"),
        ("failover: automatic", "failover: maybe # ! plan.bad-choice"),
        ("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+4930901820\", \"x y\"] # ! number.duplicate number.bad"),
    ],
    **TREATMENT_FAULTS,
}  # fmt: skip
ALONE = {"faults in several places, all told at once": ["plan.unknown-name"]}  # not told because the trunk did not read

WARNINGS: dict[str, Swaps] = {
    "a pair of one SBC": [("      ams-b: {uri: \"sip:10.5.1.12:5060\"}\n", ""), ("  ams:\n", "  ams: # ! pair.single\n")],
    "a pair nobody uses": [("bcp: {reached_by: ams}", "bcp: {reached_by: {sbc_pair: fra, port: 5071}}"), ("  ams:\n", "  ams: # ! pair.unused\n"), ("    bcp: bcp\n", "    bcp: bcp # ! group.shared-pair\n")],
    "a source open to the world": [("    sources: [198.51.100.0/28]", "    sources: [0.0.0.0/0] # ! trunk.open")],
    "an entry point without numbers": [("  support:\n", "  support: # ! entry.no-numbers\n"), ("    numbers: [\"+4930901900\", \"5501\"]\n", "")],
    "an except beside every block": [("numbers: [\"+4930901820\", \"+4930901821XX\"]", "numbers: [\"+4930901820\", \"+4930901821XX\"]\n    except: [\"+4930901955\"] # ! except.unused")],
    "separators in a number": [("numbers: [\"+4930901900\", \"5501\"]", "numbers: [\"+49 30 9019-00\", \"5501\"] # ! number.separators")],
    **TREATMENT_WARNINGS,
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_plan_gives_exactly_its_findings_at_their_lines(name: str) -> None:
    files = plan(*FAULTS[name])
    result = compile_plan(files, {}, revision=1)
    wanted = [finding for finding in expected(files) if finding[1] not in ALONE.get(name, [])]
    assert found(result) == wanted
    assert wanted
    assert not result.is_applicable
    if "test.failed" not in {code for _, code, _ in wanted}:
        assert result.image == b""


@pytest.mark.parametrize("name", WARNINGS)
def test_questionable_plan_gives_its_warning_and_works(name: str) -> None:
    files = plan(*WARNINGS[name])
    result = compile_plan(files, {}, revision=1)
    assert found(result) == expected(files)
    assert result.is_applicable


def test_sound_plan_has_no_finding() -> None:
    assert compile_plan(plan(), {}, revision=1).findings == ()


def test_every_finding_has_a_column_a_hint_or_an_excerpt_and_points_at_the_value() -> None:
    result = compile_plan(plan(("    bcp: bcp\n", "    bcp: bcpp\n")), {}, revision=1)
    (finding,) = result.findings
    assert (finding.path, finding.line, finding.column) == (PLAN, 4, 10)
    assert finding.excerpt == "    bcp: bcpp"
    assert finding.hint == "did you mean bcp?"
    assert str(finding) == f"{PLAN}:4:10: error plan.unknown-name: no tenant is called bcpp"


def test_name_in_two_files_and_default_twice_are_found_and_name_the_other_place() -> None:
    more = "tenants:\n  prod: {reached_by: fra} # ! plan.defined-twice\ndefaults: {tenants: {}} # ! plan.defined-twice\n"
    files = plan(("limits: {max_call_age: 12h}", "defaults: {trunks: {}}"), files={"sbc_configs/zz.yml": more})
    result = compile_plan(files, {}, revision=1)
    assert found(result) == expected(files)
    assert any("sbc_configs/edge.yaml:20" in finding.message for finding in result.findings)


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        (EDGE, b"trunks: {\xff\xfe}", "file.not-utf8"),
        (EDGE, b"a: " + b"[" * 40 + b"]" * 40, "yaml.too-deep"),
        (EDGE, b"- a\n- b\n", "yaml.not-a-map"),
        (EDGE, b"? [a, b]\n: c\n", "yaml.syntax"),
        (EDGE, b"a: \x00", "yaml.syntax"),
        (PLAN, b"\x1f\x8b\x08", "file.not-utf8"),
    ],
)
def test_file_that_does_not_read_is_named(path: str, data: bytes, code: str) -> None:
    result = compile_plan({**plan(), path: data}, {}, revision=1)
    assert (path, code) in {(finding.path, finding.code) for finding in result.findings}
    assert not result.image


def test_folder_without_files_is_named() -> None:
    result = compile_plan({EDGE: SOUND[EDGE].encode()}, {}, revision=1)
    assert [(finding.path, finding.code) for finding in result.findings] == [("dialplans", "plan.empty")]


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def codes() -> set[str]:
        return {finding.code for finding in compile_plan(plan(), {}, revision=1).findings}

    with monkeypatch.context() as patch:
        patch.setattr("sipctl.dialplan.source.MAX_YAML_BYTES", 100)
        assert "file.too-large" in codes()
    with monkeypatch.context() as patch:
        patch.setattr("sipctl.dialplan.source.MAX_VALUES", 20)
        assert "yaml.too-many" in codes()
    with monkeypatch.context() as patch:
        patch.setattr("sipctl.dialplan.load.MAX_FILES_BYTES", 100)
        assert "file.too-large" in codes()


def test_a_million_faults_are_one_story() -> None:
    rows = "".join(f"+49309x{number},sales\n" for number in range(3000))
    swap = ("tests:\n", "number_files: [{file: numbers.csv}]\ntests:\n")
    result = compile_plan(plan(swap, files={CSV: "number,entry_point\n" + rows}), {}, revision=1)
    assert len(result.findings) == 201
    assert result.findings[-1].code == "plan.too-many-findings"
    assert result.findings[-1].message == "2,800 more of number.bad are not listed"


def test_file_nothing_reads_is_pointed_out() -> None:
    more = {
        "sbc_configs/old/edge.yaml": "a: b",
        "dialplans/spare.csv": "number\n",
        "dialplans/.hidden.csv": "",
        "dialplans/README": "",
    }
    result = compile_plan(plan(files=more), {}, revision=1)
    assert [(finding.path, finding.code) for finding in result.findings] == [
        ("dialplans/spare.csv", "file.ignored"),
        ("sbc_configs/old/edge.yaml", "file.ignored"),
    ]


def test_ids_run_out_loudly() -> None:
    ids = {"tenant": {"old": (1 << 24) - 1}}
    result = compile_plan(plan(), ids, revision=1)
    assert {finding.code for finding in result.findings} == {"plan.ids"}
    assert result.ids == ids


def test_edge_without_a_listen_says_so_once() -> None:
    swap = ('listen:\n  outside: {bind: "udp:203.0.113.9:5060"}\n  inside: {bind: "udp:10.1.0.5:5060"}\n', "")
    result = compile_plan(plan(swap, ("    listen: outside\n", ""), ("    listen: inside\n", "")), {}, revision=1)
    assert [finding.code for finding in result.findings] == ["listen.none"]
