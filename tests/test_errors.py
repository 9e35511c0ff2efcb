import pickle

from sipctl.errors import EngineError, Finding, PlanError, Refused, SipctlError, SipSyntaxError, SnapshotError, StoreError


def subclasses(kind: type[SipctlError]) -> list[type[SipctlError]]:
    found = [kind]
    for child in kind.__subclasses__():
        found += subclasses(child)
    return found


def a_finding(severity: str = "error") -> Finding:
    return Finding("dialplans/a.yaml", 3, 7, "number.duplicate", "warning" if severity == "warning" else "error", "+4930 twice")


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in subclasses(SipctlError)]
    assert len(codes) == len(set(codes))


def test_a_plan_error_carries_every_finding_and_counts_only_errors() -> None:
    refused = PlanError((a_finding(), a_finding("warning"), a_finding()))
    assert str(refused) == "2 errors in the plan"
    assert len(refused.findings) == 3
    assert pickle.loads(pickle.dumps(refused)).findings == refused.findings, "it travels between processes"
    assert str(refused.findings[0]) == "dialplans/a.yaml:3:7: error number.duplicate: +4930 twice"


def test_a_syntax_error_says_what_to_answer_and_where_it_is() -> None:
    error = SipSyntaxError("no colon", offset=12)
    assert (error.offset, error.status, error.hint) == (12, 400, "reply 400; first bad octet at 12")


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert Refused("last-usable-sbc", "fra-a is the last one").exit_code == 3
    assert PlanError((a_finding(),)).exit_code == 2
    assert {kind("x").exit_code for kind in (SnapshotError, EngineError, StoreError)} == {1}
    assert EngineError("x").retryable
    assert StoreError("x").retryable
