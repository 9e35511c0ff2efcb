"""Strangers beside a trunk's addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipctl.control.nearby import hint, neighbour
from tests.support.plans import a_topology

TRUNKS = tuple(
    replace(trunk, name=name, sources=sources)
    for trunk, name, sources in zip(
        a_topology().trunks * 2,
        ("one", "two", "wide"),
        (("198.51.100.0/28", "2001:db8:1:100::/64"), ("198.51.100.64/30", "203.0.113.7/32"), ("0.0.0.0/0", "2001:db8::/32")),
        strict=False,
    )
)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("198.51.100.20", ("one", "198.51.100.0/28")),
        ("198.51.100.60", ("two", "198.51.100.64/30")),
        ("198.51.101.20", None),
        ("203.0.113.200", ("two", "203.0.113.7/32")),
        ("::ffff:203.0.113.200", ("two", "203.0.113.7/32")),
        ("2001:db8:1:200::5", None),
        ("2001:db8:1:142::5", ("one", "2001:db8:1:100::/64")),
        ("192.0.2.1", None),
        ("not an address", None),
    ],
)
def test_a_stranger_is_near_whose_24_or_56_bits_are_a_trunks(address: str, found: tuple[str, str] | None) -> None:
    assert neighbour(address, TRUNKS) == found


def test_the_hint_says_what_to_do_and_whom_to_ask_first() -> None:
    assert hint("198.51.100.20", TRUNKS) == (
        "near one 198.51.100.0/28: probably its new address; if the carrier says so, "
        "sipctl trunk allow one 198.51.100.20/32 --until TIME"
    )
    assert hint("192.0.2.1", TRUNKS) is None
