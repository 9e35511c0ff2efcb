"""What an INVITE looks like as it leaves: pure edits of header lines, as examples and as properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.routing.diverted import Way
from sipctl.routing.rewrite import (
    FIELDS,
    KEPT,
    MAX_FACT_CHARS,
    MAX_VALUE_BYTES,
    Facts,
    Leaving,
    called_form,
    edit_of,
    edited,
    head_of,
    leaving_of,
    name_of,
    own_names,
)
from sipctl.routing.snapshot import SbcPair, SendRules

HEAD = (
    b"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK1",
    b"Max-Forwards: 69",
    b'From: "Caller" <sip:+4930123456@198.51.100.1>;tag=1',
    b"To: <sip:+4930901820@203.0.113.9>",
    b"Call-ID: c1",
    b"CSeq: 1 INVITE",
    b"Content-Length: 4",
)
BODY = b"v=0\n"
RECEIVED, SENT = b"sip:+4930901820@203.0.113.9", b"sip:+4930901821@10.4.1.11"
CLOSED = (Way("+4930901820", "time-of-day", 404, 1),)


def leaving(**send: Any) -> Leaving:
    compiled = leaving_of(SendRules(**send))
    assert compiled is not None
    return compiled


def an_invite(*more: bytes) -> bytes:
    return b"\r\n".join((*HEAD, *more)) + b"\r\n\r\n" + BODY


def facts(ways: tuple[Way, ...] = (), labels: tuple[tuple[str, str], ...] = (), **texts: str) -> Facts:
    known = {"called": "+4930901821", "dialled": "+4930901820"} | texts
    return Facts(tuple(known.get(name, "") for name in FIELDS), labels, ways, b"10.1.0.5", RECEIVED, SENT)


def added(compiled: Leaving, told: Facts, *more: bytes) -> list[bytes]:
    rest = an_invite(*more)
    after = head_of(edited(rest, edit_of(rest, compiled, told)))
    assert tuple(after[: len(HEAD)]) == HEAD, "what was not named leaves as it came"
    return after[len(HEAD) :]


# -- the number ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "called", "leaves"),
    [
        ("e164-no-plus", "+4930901820", "4930901820"),
        ("national", "+4930901820", "030901820"),
        ("national", "+442012345", "+442012345"),  # of another country: its international prefix is not guessed
        ("02#{e164}", "+4930901820", "02#+4930901820"),
        ("9{national}#", "+4930901820", "9030901820#"),
        ("x.{e164-no-plus}", "+442012345", "x.442012345"),
        ("02#{e164}", "ann-1", "ann-1"),  # no E.164 number: its form is nobody's to change
        ("e164-no-plus", "5501", "5501"),
    ],
)
def test_the_called_number_leaves_in_the_form_the_pair_wants(form: str, called: str, leaves: str) -> None:
    assert called_form(leaving(called=form, country_code="49", national_prefix="0"), called) == leaves


def test_north_american_national_numbers_have_ten_digits() -> None:
    assert called_form(leaving(called="national", country_code="1", national_prefix="1"), "+12125550123") == "2125550123"


def test_send_that_changes_nothing_costs_nothing() -> None:
    assert leaving_of(None) is None
    assert leaving_of(SendRules()) is None


# -- headers set and removed -----------------------------------------------------------------------------------------------------


def test_headers_are_set_from_what_is_true_of_the_call_and_forged_ones_leave_with_nobody() -> None:
    compiled = leaving(set_headers=(("X-Entry-Point", "{entry_point}"), ("X-Dept", "{label.dept}/{called}")))
    told = facts(labels=(("dept", "Verkauf Süd"),), entry_point="cards")
    forged = (b"x-entry-point : board", b"X-DEPT: board,\r\n\tand more", b"X-Trunk: t")
    assert added(compiled, told, *forged) == [
        b"X-Trunk: t", b"X-Entry-Point: cards", "X-Dept: Verkauf Süd/+4930901821".encode(),
    ]  # fmt: skip


def test_a_header_without_a_value_does_not_leave_nor_does_the_forged_one() -> None:
    assert added(leaving(set_headers=(("X-Dept", "{label.dept}"),)), facts(), b"X-Dept: board") == []


def test_headers_are_removed_in_any_spelling_compact_ones_too() -> None:
    lines = (b"x-tRUNK: 1", b"s: hello", b"Subject : hello", b"X-Trunked: 2")
    assert added(leaving(remove_headers=("x-trunk", "subject")), facts(), *lines) == [b"X-Trunked: 2"]


def test_what_carries_the_call_is_never_removed() -> None:
    rest = an_invite()
    compiled = leaving(remove_headers=tuple(sorted(name.decode() for name in KEPT)), uui="strip")
    assert edited(rest, edit_of(rest, compiled, facts())) == rest


def test_identity_that_is_stripped_takes_the_signature_along_which_would_tell_the_number() -> None:
    lines = (b"P-Asserted-Identity: <sip:+491@a>", b"y: abc", b"Identity: abc", b"Remote-Party-ID: <sip:+49@a>", b"Privacy: none")
    assert added(leaving(identity="strip"), facts(), *lines, b"Diversion: <sip:+492@a>") == [
        b"Privacy: none", b"Diversion: <sip:+492@a>",
    ]  # fmt: skip


@pytest.mark.parametrize("privacy", [b"id", b"history", b"none;user", b"critical; id"])
def test_who_was_called_before_is_told_to_nobody_untrusted_if_privacy_is_asked_for(privacy: bytes) -> None:
    lines = (b"Privacy: " + privacy, b"Diversion: <sip:+492@a>", b"History-Info: <sip:+493@a>;index=1")
    assert added(leaving(identity="strip"), facts(), *lines) == [b"Privacy: " + privacy]


def test_user_to_user_is_stripped_or_passes() -> None:
    uui = b"User-to-User: 00414243;encoding=hex"
    assert added(leaving(uui="strip"), facts(), uui) == []
    assert added(leaving(remove_headers=("x-a",)), facts(), uui) == [uui]


# -- calls that were sent on -----------------------------------------------------------------------------------------------------


def test_diversion_tells_the_latest_first_with_reason_and_count() -> None:
    ways = (Way("+4930901829", "user-busy", 486, 1), Way("+4930901820", "time-of-day", 404, 2))
    assert added(leaving(diversion="dialled"), facts(ways), b"Diversion: <sip:+491@a>;reason=no-answer") == [
        b"Diversion: <sip:+4930901829@10.1.0.5;user=phone>;reason=user-busy;counter=1;privacy=off",
        b"Diversion: <sip:+4930901820@10.1.0.5;user=phone>;reason=time-of-day;counter=2;privacy=off",
        b"Diversion: <sip:+491@a>;reason=no-answer",
    ]


def test_a_call_that_goes_where_it_was_dialled_to_has_no_diversion_and_keeps_those_it_brought() -> None:
    line = b"Diversion: <sip:+491@a>"
    assert added(leaving(diversion="dialled"), facts(), line) == [line]
    assert added(leaving(diversion="history-info"), facts(), line) == [line]


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ((), [b"History-Info: <%b>;index=1" % RECEIVED, b"History-Info: <%b;cause=404>;index=1.1;mp=1" % SENT]),
        (
            (b"History-Info: <sip:+491@a?Privacy=history>;index=1, <sip:+4930901820@203.0.113.9;user=phone>;index=1.2;rc=1",),
            [b"History-Info: <%b;cause=404>;index=1.2.1;mp=1.2" % SENT],
        ),
        (
            (b"History-Info: <sip:+491@a>;index=1", b"History-Info: <sip:+492@a>; INDEX = 1.1"),
            [
                b"History-Info: <%b>;index=1.1.0.1" % RECEIVED,
                b"History-Info: <%b;cause=404>;index=1.1.0.1.1;mp=1.1.0.1" % SENT,
            ],
        ),
        ((b"History-Info: <sip:+491@a>;index=" + b"1." * 40 + b"1",), []),
    ],
)
def test_history_info_goes_on_where_the_one_received_ended(received: tuple[bytes, ...], expected: list[bytes]) -> None:
    assert added(leaving(diversion="history-info"), facts(CLOSED), *received) == [*received, *expected]


def test_history_info_says_that_the_number_stayed() -> None:
    _, last = added(leaving(diversion="history-info"), facts(CLOSED, called="+4930901820"))
    assert last.endswith(b";index=1.1;np=1")


def test_a_request_uri_that_would_break_out_of_its_brackets_is_not_told() -> None:
    told = facts(CLOSED)._replace(received=b'tel:+49>;index=9,<sip:"x"')
    assert added(leaving(diversion="history-info"), told)[0] == b"History-Info: <sip:+4930901820@10.1.0.5;user=phone>;index=1"
    assert added(leaving(diversion="history-info"), told._replace(sent=b"sip:+49;isub=>;index=7@10.4.1.11")) == []


# -- whose headers are whose -----------------------------------------------------------------------------------------------------


def test_only_headers_of_the_plans_own_are_forbidden_to_every_caller() -> None:
    names = ("X-Entry-Point", "Acme-Queue", "P-Asserted-Identity", "Subject", "User-to-User")
    pair = SbcPair(1, "fra", 0, (), send=SendRules(set_headers=tuple((name, "x") for name in names)))
    assert own_names((pair, SbcPair(2, "ams", 0, ()))) == {b"x-entry-point", b"acme-queue"}


# -- properties ------------------------------------------------------------------------------------------------------------------

NAMES = ("X-A", "Subject", "X-B", "User-to-User", "Diversion", "History-Info", "P-Asserted-Identity", "Via", "Privacy")
ANY_TEXT = st.text(max_size=200)
TEMPLATES = st.sampled_from(("{entry_point}", "a {calling};{label.l}", "{reason}"))
LINES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0"))).map(
        lambda pair: pair[0].encode() + b": " + pair[1]
    ),
    max_size=8,
)
SENDS = st.builds(
    SendRules,
    set_headers=st.lists(
        st.tuples(st.sampled_from(("X-A", "X-B", "Subject")), TEMPLATES),
        unique_by=lambda pair: pair[0], max_size=3,
    ).map(tuple),
    remove_headers=st.lists(st.sampled_from(tuple(name.lower() for name in NAMES)), max_size=3).map(tuple),
    diversion=st.sampled_from(("off", "dialled", "history-info")),
    identity=st.sampled_from(("pass", "strip")),
    uui=st.sampled_from(("pass", "strip")),
)  # fmt: skip
WAYS = st.lists(st.builds(Way, ANY_TEXT, st.just("user-busy"), st.just(486), st.integers(1, 9)), max_size=3).map(tuple)


@given(SENDS, LINES, WAYS, ANY_TEXT, ANY_TEXT)
def test_no_line_break_leaves_in_a_line_of_ours_whatever_a_caller_writes(
    send: SendRules, lines: list[bytes], ways: tuple[Way, ...], word: str, label: str
) -> None:
    compiled = leaving_of(send)
    if compiled is None:
        return
    rest = an_invite(*lines)
    edit = edit_of(rest, compiled, facts(ways, (("l", label),), entry_point=word, calling=word, reason=word))
    for line in edit.add.split(b"\r\n")[1:]:
        assert b"\r" not in line and b"\n" not in line and b"\0" not in line
        assert line in lines or name_of(line).decode() in ("x-a", "x-b", "subject", "diversion", "history-info")
        assert name_of(line) in (b"diversion", b"history-info") or len(line) <= MAX_VALUE_BYTES + 20
    after = edited(rest, edit)
    assert after.partition(b"\r\n\r\n")[2] == BODY, "nothing ends the header early, and the body is the body"


@given(SENDS, LINES, WAYS)
def test_no_header_is_lost_that_was_not_named_and_no_other_comes(
    send: SendRules, lines: list[bytes], ways: tuple[Way, ...]
) -> None:
    compiled = leaving_of(send)
    if compiled is None:
        return
    rest = an_invite(*lines)
    after = head_of(edited(rest, edit_of(rest, compiled, facts(ways))))
    private = send.identity == "strip" and any(name_of(line) == b"privacy" for line in lines)
    for line in rest[: rest.find(b"\r\n\r\n")].split(b"\r\n"):
        name = name_of(line)
        if name not in compiled.drops and not (private and name in (b"diversion", b"history-info")):
            assert line in after
    assert [line for line in after if name_of(line) in KEPT] == [line for line in head_of(rest) if name_of(line) in KEPT]


@given(SENDS, LINES, WAYS)
def test_the_same_call_leaves_as_the_same_bytes_and_headers_set_are_never_doubled(
    send: SendRules, lines: list[bytes], ways: tuple[Way, ...]
) -> None:
    compiled = leaving_of(send)
    if compiled is None:
        return
    rest, told = an_invite(*lines), facts(ways, entry_point="cards", calling="+491")
    once = edited(rest, edit_of(rest, compiled, told))
    assert edited(rest, edit_of(rest, compiled, told)) == once
    again = edited(once, edit_of(once, compiled, told))
    for name, _ in compiled.sets:
        assert [line.startswith(name) for line in head_of(again)].count(True) <= 1


def test_a_placeholder_is_cut_at_its_limit() -> None:
    (line,) = added(leaving(set_headers=(("X-A", "{calling}"),)), facts(calling="9" * 5000))
    assert line == b"X-A: " + b"9" * MAX_FACT_CHARS
