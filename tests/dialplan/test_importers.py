"""What other systems hold becomes a plan that checks, and whatever does not fit is told with its line."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.importers import asterisk, cisco, inventory, kamailio
from sipctl.dialplan.importers.gathered import Gathered, NumberForm
from sipctl.dialplan.importers.written import files

READERS: dict[str, Callable[[str, Gathered], None]] = {
    "asterisk": asterisk.read, "cisco": cisco.read, "kamailio": kamailio.read,
    "csv": lambda text, into: inventory.read(text, {"number": "DID", "entry_point": "Dept"}, into),
}  # fmt: skip


def gathered(kind: str, text: str, add: str = "+", strip: str = "", entry_point: str = "") -> Gathered:
    into = Gathered(kind, NumberForm(add, strip), entry_point)
    READERS[kind](text, into)
    return into


def numbers(found: Gathered) -> dict[str, str]:
    return {number.expression: number.entry_point for number in found.numbers.values()}


def left_out(found: Gathered) -> list[int]:
    return [note.line for note in found.notes if note.severity == "left-out"]


def errors(found: Gathered) -> list[str]:
    made = {path: text.encode() for path, text in files(found, "", {}).items()}
    compiled = compile_plan(made, {}, revision=1)
    return [str(finding) for finding in compiled.findings if finding.severity == "error"]


EXTENSIONS = """\
[general]
static=yes
[from-pstn]
exten => 4930901820,1,Queue(sales)
 same => n,Hangup()
exten = _493090183X,1,Goto(ivr,s,1) ; a block
exten => 4930901820,2,Hangup()
exten => _4940.,1,Dial(PJSIP/x)
exten => _4941!,1,Dial(PJSIP/x)
exten => _49-42-[2-4]ZN,1,Dial(PJSIP/x)
exten => s,1,Answer()
exten => _44X/0123,1,Dial(x)
exten => ${DID},1,Dial(x)
include => other
;-- exten => 4999,1,Dial(x)
exten => 4998,1,Dial(x) --;
#include "more.conf"
"""


def test_asterisk_extensions_become_numbers_and_patterns_of_their_context() -> None:
    found = gathered("asterisk", EXTENSIONS)
    assert numbers(found) == dict.fromkeys(("+4930901820", "+493090183X", "+4940X.", "+4941.", "+4942[2-4]ZN"), "from-pstn")
    assert errors(found) == []


def test_what_asterisk_says_beyond_numbers_is_told_with_its_line() -> None:
    assert sorted(left_out(gathered("asterisk", EXTENSIONS))) == [11, 12, 13, 14, 17]


PEERS = """\
dial-peer voice 100 voip
 destination-pattern 4930901[2-4]..
 session target ipv4:10.9.1.1
 preference 2
!
dial-peer voice 101 voip
 destination-pattern 4930901[2-4]..
 session target ipv4:10.9.1.2:5070
 preference 1
 translation-profile outgoing X
!
dial-peer voice 102 pots
 destination-pattern 9T
!
dial-peer voice 103 voip
 destination-pattern ^+495[^0-7]T
 session target dns:cc.example.net
 session transport tcp
!
dial-peer voice 104 voip
 destination-pattern 49(301)?
 session target sip-server
!
dial-peer voice 105 voip
 shutdown
 destination-pattern 4951
"""


def test_cisco_peers_of_one_pattern_are_one_pair_in_order_of_preference() -> None:
    found = gathered("cisco", PEERS)
    assert numbers(found) == {"+4930901[2-4]XX": "peer-101", "+495[89].": "peer-103"}
    assert {name: [(sbc.uri, sbc.priority) for sbc in sbcs] for name, sbcs in found.pairs.items()} == {
        "peer-101": [("sip:10.9.1.2:5070;transport=udp", 2), ("sip:10.9.1.1:5060;transport=udp", 3)],
        "peer-103": [("sip:cc.example.net:5060;transport=tcp", 1)],
    }
    assert left_out(found) == [12, 21, 24]
    assert errors(found) == []


SQL = """\
INSERT INTO `mtree` VALUES (1,'4930','1'),(2,'49301','2');
INSERT INTO dispatcher (setid,destination,flags,priority,attrs) VALUES
 (1,'sip:10.0.0.1:5060',0,5,'weight=50'),
 (1,'sip:10.0.0.2',0,10,'socket=udp:1.2.3.4:5060');
INSERT INTO dispatcher VALUES (5,2,'sips:10.0.0.3',0,5,'',NULL),(6,2,'sip:[2001:db8::4];transport=tcp',1,5,'',NULL);
INSERT INTO dialplan VALUES (1,1,1,1,'^\\\\+?4940([0-9]{4})$',0,'','','sales'),(2,1,2,0,'4940123',0,'','4912345','');
INSERT INTO dialplan VALUES (3,1,3,1,'(foo|bar)',0,'','',''),(4,1,4,2,'4941*',0,'','','');
INSERT INTO subscriber VALUES (1,'it''s');
"""


def test_kamailio_tables_of_one_dump_fit_together() -> None:
    found = gathered("kamailio", SQL)
    assert numbers(found) == {
        "+4940XXXX": "sales", "+4940123": "dp-1", "+4941.": "dp-1", "+4930.": "mtree-1", "+49301.": "mtree-2",
    }  # fmt: skip
    assert found.numbers["+4940123"].primary == "+4912345"
    assert found.groups == {"mtree-1": "ds-1", "mtree-2": "ds-2"}
    assert [(sbc.uri, sbc.priority, sbc.weight) for sbc in found.pairs["ds-1"]] == [
        ("sip:10.0.0.2:5060;transport=udp", 1, 100), ("sip:10.0.0.1:5060;transport=udp", 2, 50),
    ]  # fmt: skip
    assert sorted(left_out(found)) == [5, 7, 8]
    assert errors(found) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("id(int,auto) tprefix(string) tvalue(string)\n1:4930:north\n2:49\\:31:x\n", {"+4930.": "north"}),
        ("id\ttprefix\ttvalue\n1\t4930\tnorth\n", {"+4930.": "north"}),
        ("+----+---------+--------+\n| id | tprefix | tvalue |\n+----+---------+--------+\n|  1 | 4930    | north  |\n",
         {"+4930.": "north"}),
        ("dpid,pr,match_op,match_exp,match_len,repl_exp,attrs\n1,1,1,^49301,8,,\n", {"+49301XXX": "dp-1"}),
    ],
)  # fmt: skip
def test_kamailio_tables_are_read_in_the_forms_they_are_dumped_in(text: str, wanted: dict[str, str]) -> None:
    assert numbers(gathered("kamailio", text)) == wanted


@pytest.mark.parametrize(
    ("expression", "kind", "wanted"),
    [
        ("4930", "0", "4930"), ("^4930", "1", "4930."), ("^4930$", "1", "4930"), (r"^\+4930\d{2}$", "1", "+4930XX"),
        ("^4930[0-9]+$", "1", "4930X."), ("^4930.*$", "1", "4930."), ("^493[1-3]", "1", "493[1-3]."), ("4930", "1", None),
        ("^(a|b)", "1", None), ("^", "1", None), ("^.*$", "1", None), ("4930??", "2", "4930XX"), ("4930*", "2", "4930."),
    ],
)  # fmt: skip
def test_kamailio_rules_become_patterns_only_where_they_are_the_same(expression: str, kind: str, wanted: str | None) -> None:
    assert kamailio.translate(expression, kind) == wanted


def test_dispatcher_list_is_a_pair_for_each_set() -> None:
    found = gathered("kamailio", "# sets\n1 sip:10.0.0.1:5060 0 10 weight=50\n1 sip:10.0.0.2 8 5\nx y\n")
    assert [sbc.uri for sbc in found.pairs["ds-1"]] == ["sip:10.0.0.1:5060;transport=udp", "sip:10.0.0.2:5060;transport=udp"]
    assert left_out(found) == [4]
    assert errors(found) == []


CSV = """\
DID;Dept;Remark
+49 30 901820;sales;x
030901821;support;y
4,96922E+12;support;z
+4930901820;other;dup
;sales;
"""


def test_an_inventory_keeps_its_good_rows_and_tells_of_the_others() -> None:
    found = gathered("csv", CSV, add="+49", strip="0")
    assert numbers(found) == {"+4930901820": "sales", "+4930901821": "support"}
    assert left_out(found) == [4, 5, 6]
    assert errors(found) == []


def test_numbers_without_a_plus_are_left_out_unless_it_is_said_what_stands_in_front() -> None:
    assert left_out(gathered("csv", "DID,Dept\n4930901820,sales\n", add="")) == [2]


def test_one_entry_point_may_take_all() -> None:
    assert set(numbers(gathered("csv", CSV, entry_point="cards")).values()) == {"cards"}


def test_names_of_other_systems_become_names_of_ours() -> None:
    assert numbers(gathered("csv", "DID,Dept\n+4930901820,Vertrieb & Co.\n")) == {"+4930901820": "Vertrieb-Co"}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(READERS)), text=st.text(alphabet="dial-per voc49X[].+_=>,;'()\n\t1IMNSTOVALUEmtre|", max_size=200)
)
def test_any_text_gives_numbers_or_notes_and_never_a_traceback(kind: str, text: str) -> None:
    found = gathered(kind, "DID,Dept\n" + text if kind == "csv" else text)
    assert all(number.expression.startswith("+") for number in found.numbers.values())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.from_regex(r"\A(?:exten => _?49[0-9XZN]{1,5}[.!]?,1,Dial\(x\)|dial-peer voice [1-9] voip|\[c[0-9]\])\Z"), max_size=12
    )
)
def test_whatever_is_taken_from_asterisk_compiles_or_is_a_finding_about_overlap(lines: list[str]) -> None:
    assert all("number." in error or "pattern" in error for error in errors(gathered("asterisk", "\n".join(lines))))
