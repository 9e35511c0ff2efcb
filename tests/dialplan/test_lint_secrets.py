"""What looks like a secret is found, hidden where lines are shown, and nothing else is."""

from __future__ import annotations

import pytest

from sipctl.dialplan.lint.secrets import hide_secrets, secret_lines

SECRETS = [
    ("password: hunter2hunter2", "hunter2hunter2"),
    ('labels: {api_key: "8f14e45fceea167a", dept: sales}', "8f14e45fceea167a"),
    ("# old secret=abcd1234", "abcd1234"),
    ("uri: sip:alice:wonder1and@10.1.1.1", "wonder1and"),
    ("see https://bob:builder99@example.net/", "builder99"),
    ("note: Bearer abcdefghijklmnop1234", "abcdefghijklmnop1234"),
    ("note: " + "AKIA" + "Q" * 16, "AKIA" + "Q" * 16),
    ("note: " + "ghp_" + "a" * 36, "ghp_" + "a" * 36),
    ("pem: -----BEGIN RSA PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----"),
]
INNOCENT = [
    'uri: "sip:10.4.1.11:5060;transport=udp"',
    "certificate: /etc/sipctl/tls.pem",
    "private_key: /etc/sipctl/tls.key",
    "token: {file}",
    "password: ********",
    "name: the secret garden",
    'match: {header: {X-Key: "1"}}',
    "",
]


@pytest.mark.parametrize(("line", "secret"), SECRETS)
def test_secret_is_found_and_hidden_without_moving_a_column(line: str, secret: str) -> None:
    assert list(secret_lines(f"a: b\n{line}\n".encode())) == [(2, line.index(secret) + 1)]
    assert hide_secrets(line) == line.replace(secret, "*" * len(secret))
    assert hide_secrets(hide_secrets(line)) == hide_secrets(line)


@pytest.mark.parametrize("line", INNOCENT)
def test_what_is_none_stays(line: str) -> None:
    assert hide_secrets(line) == line
    assert list(secret_lines(line.encode())) == []


def test_long_lines_are_looked_at_for_a_bounded_time() -> None:
    for line in ("x" * 1_000_000 + "@", "eyJ" * 300_000, "password" * 100_000, "a:" * 500_000 + "@", " " * 1_000_000 + "key"):
        assert list(secret_lines(line.encode())) == []
