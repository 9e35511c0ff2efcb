"""What may stand in a log line."""

import pytest

from sipctl.telemetry.mask import MAX_TEXT_CHARACTERS, mask_number, mask_text, masked, spell_out


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+4930901820", "+******1820"),
        ("4930901", "****901"),
        ("12345", "***45"),
        ("112", "***"),
        ("+49 30 901-820", "+** ** **1-820"),
        ("anonymous", "anonymous"),
    ],
)
def test_of_a_number_the_last_two_to_four_digits_stay(number: str, shown: str) -> None:
    assert mask_number(number) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call to +4930901820 goes to BCP", "call to +******1820 goes to BCP"),
        ("INVITE sip:+4930901820@10.4.1.11:5060;user=phone", "INVITE sip:+******1820@10.4.1.11:5060;user=phone"),
        ("sip:004930901820@host", "sip:********1820@host"),
        ("%2B4930901820", "%2B******1820"),
        ("+49 (30) 90 18 20", "+** (**) ** 18 20"),
        ("two +4930901820, +312055501", "two +******1820, +******501"),
        ("at 2026-11-22T03:47:37.123Z from 203.0.113.9:5060", "at 2026-11-22T03:47:37.123Z from 203.0.113.9:5060"),
        ("z9hG4bK1234567890abcdef", "z9hG4bK1234567890abcdef"),
        ("took 1234567.25 s", "took 1234567.25 s"),
        ("2001:db8::1234", "2001:db8::1234"),
    ],
)  # fmt: skip
def test_numbers_in_a_sentence_are_masked_and_all_else_stays(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_a_number_field_is_masked_however_it_is_written() -> None:
    assert masked("dialled", "0309018") == "****018"
    assert masked("called", "4711") == "**11"


def test_control_characters_give_no_orders_and_start_no_line() -> None:
    assert spell_out("a\r\nX: y\x1b[31mred\x00\u2028\x9b") == "a\\r\\nX: y\\x1b[31mred\\x00\\x2028\\x9b"


def test_nested_values_are_masked_too() -> None:
    value = {"to": ["+4930901820", b"sip:+4930901820@x\r\n"], "n": 3, "+4930901820": None}
    assert masked("fields", value) == {
        "to": ["+******1820", "sip:+******1820@x\\r\\n"], "n": 3, "+******1820": None,
    }  # fmt: skip


def test_a_value_that_is_too_long_or_too_deep_is_cut() -> None:
    assert masked("x", "a" * 5000) == "a" * MAX_TEXT_CHARACTERS + "… (5000 characters)"
    deep: object = "+4930901820"
    for _ in range(20):
        deep = {"d": deep}
    assert "4930901820" not in str(masked("x", deep))
