"""Webhooks on real sockets: what is sent, and everything that must not be connected to, followed, or waited for."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import subprocess
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from sipctl.telemetry.alert_config import Webhook
from sipctl.telemetry.alert_delivery import Sent, deliver, secrets_of, signature
from sipctl.telemetry.alert_targets import Place, Targets, place_of
from sipctl.telemetry.alerts import Alert
from tests.support.webhooks import receiving

NOW_S = 1_790_000_000.9
SECRET = b"correct horse battery staple"
LOOPBACK = (ip_network("127.0.0.1/32"),)
ALERT = Alert("alert-1", "alarm.raised", 5.0, "SBC fra-a is out of service", "warning", "sbc-lost:fra-a", {"group": "acme"})


def a_webhook(tmp_path: Path, url: str, ca_file: str = "") -> Webhook:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    return Webhook("oncall", place_of(url), secret_file=str(secret), ca_file=ca_file)


class Dns:
    """Gives one answer after the other, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


async def sent(webhook: Webhook, targets: Targets, dns: Dns | None = None, total_s: float = 5.0) -> Sent:
    source = {"node": "fra-1", "build": "sipctl 1"}
    return await deliver(webhook, targets, ALERT, source, NOW_S, resolve=dns or Dns(["127.0.0.1"]), total_s=total_s)


def targets(*hosts: str) -> Targets:
    return Targets(hosts or ("hooks.example.test",), LOOPBACK)


async def test_an_alert_arrives_signed_as_the_standard_says(tmp_path: Path) -> None:
    async with receiving() as receiver:
        webhook = a_webhook(tmp_path, f"http://hooks.example.test:{receiver.port}/in?team=voice")
        assert await sent(webhook, targets()) == Sent(True, "answered 204")
    ((line, headers, body),) = receiver.requests
    assert line == "POST /in?team=voice HTTP/1.1" and headers["host"] == f"hooks.example.test:{receiver.port}"
    assert (headers["webhook-id"], headers["webhook-timestamp"], headers["content-type"]) == (
        "alert-1", "1790000000", "application/json",
    )  # fmt: skip
    made = hmac.new(SECRET, b"alert-1.1790000000." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"
    told = json.loads(body)
    assert (told["id"], told["type"], told["severity"], told["fields"]) == (
        "alert-1",
        "alarm.raised",
        "warning",
        {"group": "acme"},
    )
    assert told["source"] == {"node": "fra-1", "build": "sipctl 1"}


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.0, b'{"test": 2432232314}', [secret])
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_hosts_that_are_not_listed_and_addresses_that_may_not_be_are_never_connected_to(tmp_path: Path) -> None:
    tricks = [
        "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "127.0.0.2", "10.0.0.1", "169.254.169.254", "fe80::1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254", "100.64.0.1", "192.168.0.1", "224.0.0.1",
    ]  # fmt: skip
    async with receiving(host="127.0.0.1") as four, receiving(host="::1") as six:
        for receiver in (four, six):
            for address in tricks:
                for scheme in ("http", "https"):
                    webhook = a_webhook(tmp_path, f"{scheme}://hooks.example.test:{receiver.port}/")
                    found = await sent(webhook, Targets(("hooks.example.test",)), Dns([address]))
                    assert not found.ok and found.refused, (address, found)
            dns = Dns(["127.0.0.1"])
            unlisted = await sent(a_webhook(tmp_path, f"http://other.example.test:{receiver.port}/"), targets(), dns)
            assert unlisted.text == "other.example.test is not among the listed hosts" and dns.asked == 0
        for literal in ("127.0.0.1", "[::1]", "[::ffff:7f00:1]"):
            webhook = a_webhook(tmp_path, f"http://{literal}:{four.port}/")
            found = await sent(webhook, Targets((webhook.place.host,)), Dns([webhook.place.host]))
            assert not found.ok and found.refused
        assert (four.connections, six.connections) == (0, 0)


async def test_a_name_that_points_elsewhere_after_the_check_changes_nothing(tmp_path: Path) -> None:
    async with receiving() as listed, receiving(host="127.0.0.2") as neighbour:
        webhook = a_webhook(tmp_path, f"http://hooks.example.test:{listed.port}/")
        dns = Dns(["127.0.0.1"], ["127.0.0.2"])
        assert (await sent(webhook, targets(), dns)).ok and dns.asked == 1, "resolved once, and connected to that"
        rebound = await sent(webhook, targets(), dns)
        assert not rebound.ok and "127.0.0.2 is loopback" in rebound.text
        both = await sent(webhook, targets(), Dns(["127.0.0.1", "127.0.0.2"]))
        assert not both.ok
        assert (listed.connections, neighbour.connections) == (1, 0)


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async with receiving() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            moved = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{elsewhere.port}/\r\nContent-Length: 0\r\n\r\n"
            async with receiving(moved.encode()) as receiver:
                found = await sent(a_webhook(tmp_path, f"http://hooks.example.test:{receiver.port}/"), targets())
            assert (found.ok, found.refused) == (False, True) and "redirects are not followed" in found.text
        assert elsewhere.connections == 0


async def test_answers_say_whether_trying_again_helps(tmp_path: Path) -> None:
    refusals = {400: True, 404: True, 410: True, 408: False, 429: False, 500: False, 503: False}
    for status, ok, refused in ((200, True, False), *((status, False, refused) for status, refused in refusals.items())):
        async with receiving(f"HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".encode()) as receiver:
            found = await sent(a_webhook(tmp_path, f"http://hooks.example.test:{receiver.port}/"), targets())
        assert (found.ok, found.refused) == (ok, refused)
        assert found.retry_after_s == (0.0 if ok else 7.0)


async def test_who_drips_bytes_or_says_nothing_or_never_ends_is_left_in_time(tmp_path: Path) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for octet in b"HTTP/1.1 200 OK\r\nX-Pad: " + b"a" * 10_000:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)
        await writer.drain()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    for answer in (drip, silent, endless, hang_up):
        async with receiving(answer) as receiver:
            found = await sent(a_webhook(tmp_path, f"http://hooks.example.test:{receiver.port}/"), targets(), total_s=0.3)
            assert not found.ok and found.text.startswith(("no answer", "no connection")), (answer.__name__, found)


async def test_an_endless_body_behind_a_good_answer_is_not_read(tmp_path: Path) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with receiving(flood) as receiver:
        found = await sent(a_webhook(tmp_path, f"http://hooks.example.test:{receiver.port}/"), targets())
    assert found.ok


async def test_nobody_there_and_a_resolver_that_fails_are_sentences(tmp_path: Path) -> None:
    async with receiving() as receiver:
        port = receiver.port
    found = await sent(a_webhook(tmp_path, f"http://hooks.example.test:{port}/"), targets())
    assert not found.ok and found.text.startswith("no connection: ")

    async def broken(host: str, port: int) -> Sequence[str]:
        raise OSError(5, "the resolver is broken")

    lost = await deliver(a_webhook(tmp_path, "http://hooks.example.test/"), targets(), ALERT, {}, NOW_S, resolve=broken)
    assert lost == Sent(False, "the resolver is broken")


# -- TLS -----------------------------------------------------------------------------------------------------------------------


def a_certificate(folder: Path, name: str, san: str, *, days: int = 2) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate and a server that shows it."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days)]
    argv += ["-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={name}", "-addext", f"subjectAltName={san}"]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return certificate, server


async def test_only_a_certificate_that_is_trusted_and_names_the_host_is_believed(tmp_path: Path) -> None:
    good, good_server = a_certificate(tmp_path, "good", "DNS:hooks.example.test")
    wrong, wrong_server = a_certificate(tmp_path, "wrong", "DNS:other.example.test,IP:127.0.0.1")
    cases = [
        (good_server, str(good), True), (good_server, str(wrong), False), (good_server, "", False),
        (wrong_server, str(wrong), False),
    ]  # fmt: skip
    for server, trusted, ok in cases:
        async with receiving(tls=server) as receiver:
            webhook = a_webhook(tmp_path, f"https://hooks.example.test:{receiver.port}/", ca_file=trusted)
            found = await sent(webhook, targets())
            assert found.ok is ok, found
            assert len(receiver.requests) == (1 if ok else 0), "nothing is told to somebody unknown"
            assert ok or "certificate" in found.text
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(tmp_path / "good.pem", tmp_path / "good.key")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with receiving(tls=old) as receiver:
        assert (await sent(a_webhook(tmp_path, f"https://hooks.example.test:{receiver.port}/", ca_file=str(good)), targets())).ok
    missing = await sent(a_webhook(tmp_path, "https://hooks.example.test/", ca_file=str(tmp_path / "none.pem")), targets())
    assert not missing.ok


# -- secrets -------------------------------------------------------------------------------------------------------------------


def test_secrets_are_read_anew_each_time_and_two_of_them_both_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = a_webhook(tmp_path, "https://hooks.example.test/")
    assert secrets_of(webhook) == [SECRET]
    (tmp_path / "secret").write_text(f"whsec_{base64.b64encode(b'n' * 24).decode()}\n{SECRET.decode()}\n")
    assert secrets_of(webhook) == [b"n" * 24, SECRET]
    assert signature("a", 1.0, b"", secrets_of(webhook))["webhook-signature"].count("v1,") == 2
    monkeypatch.setenv("SIPCTL_ONCALL", "e" * 20)
    assert secrets_of(Webhook("x", Place("https://h/", "h", 443, True), secret_env="SIPCTL_ONCALL")) == [b"e" * 20]


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"short", 0o600, "fewer than 16 bytes"), (b"", 0o600, "one or 2 secrets"), (b"whsec_!!!!", 0o600, "base64"),
        (SECRET, 0o644, "chmod 600"), (b"\xff" * 20, 0o600, "no text"),
        (b"x" * 20 + b"\n" + b"y" * 20 + b"\n" + b"z" * 20, 0o600, "one or 2"),
    ],
)  # fmt: skip
async def test_a_secret_that_is_none_is_said_without_telling_it(tmp_path: Path, content: bytes, mode: int, words: str) -> None:
    async with receiving() as receiver:
        webhook = a_webhook(tmp_path, f"http://hooks.example.test:{receiver.port}/")
        (tmp_path / "secret").write_bytes(content)
        (tmp_path / "secret").chmod(mode)
        found = await sent(webhook, targets())
        assert words in found.text and not found.ok and receiver.connections == 0
        assert not content or content.decode("latin-1") not in found.text
    gone = await sent(Webhook("x", webhook.place, secret_file="/nowhere/secret"), targets())
    assert not gone.ok and "No such file" in gone.text
    missing = await sent(Webhook("x", webhook.place, secret_env="SIPCTL_NOT_SET"), targets())
    assert missing.text == "the environment has no SIPCTL_NOT_SET"
