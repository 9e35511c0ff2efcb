"""One alert to one webhook: resolved once, checked, connected to what was checked, signed, and nothing followed.

The signature is that of the Standard Webhooks specification, so receivers find a library for it: `webhook-id`,
`webhook-timestamp` (unix seconds) and `webhook-signature: v1,BASE64`, the HMAC-SHA256 with the secret over `ID.TIMESTAMP.BODY`.
A receiver refuses a timestamp that is further than five minutes from its clock, and an id it has seen. Each try is signed anew,
with the same id.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult

from sipctl.telemetry.alert_config import Webhook
from sipctl.telemetry.alert_targets import Targets, check_host, checked
from sipctl.telemetry.alerts import Alert

RESOLVE_S: Final = 5.0
CONNECT_S: Final = 5.0
TOTAL_S: Final = 10.0  # from the first packet to the answer
MAX_REPLY_LINE: Final = 4_096
MAX_BODY_BYTES: Final = 64 << 10
MAX_SECRET_BYTES: Final = 4_096
MIN_SECRET_BYTES: Final = 16
MAX_SECRETS: Final = 2  # the one before stays valid while receivers change over
MAX_RETRY_AFTER_S: Final = 3_600.0
PREFIX: Final = "whsec_"
_TRY_AGAIN: Final = frozenset({408, 425, 429})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one try."""

    ok: bool
    text: str  # one sentence; never the URL's path, never the secret
    refused: bool = False  # trying again as it is will not help
    retry_after_s: float = 0.0


async def resolve_here(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


async def deliver(
    webhook: Webhook,
    targets: Targets,
    alert: Alert,
    source: Mapping[str, Any],
    unix_s: float,
    *,
    resolve: Resolve = resolve_here,
    total_s: float = TOTAL_S,
) -> Sent:
    """Send one alert; never raises for what the other side, the network or the configuration does.

    Args:
        source: who sends: node, build; stands in the body.
        resolve: host and port → addresses; each is checked before anything is connected to.
    """
    place = webhook.place
    try:
        check_host(place, targets)
        async with asyncio.timeout(RESOLVE_S):
            found = await resolve(place.host, place.port)
        addresses = checked(found, place, targets)
        secrets = await asyncio.to_thread(secrets_of, webhook)
        trust = await asyncio.to_thread(_trust, webhook) if place.is_tls else False
    except TimeoutError:
        return Sent(False, f"{place.host} could not be resolved within {RESOLVE_S:g} s")
    except ssl.SSLError as error:
        return Sent(False, f"its ca_file cannot be read: {error.reason}", refused=True)
    except OSError as error:
        return Sent(False, f"{error.strerror or error}")
    except ValueError as error:
        return Sent(False, str(error), refused=True)
    body = body_of(alert, source)
    headers = {"Content-Type": "application/json", "User-Agent": "sipctl-alerts", **signature(alert.id, unix_s, body, secrets)}
    connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False, ssl=trust, force_close=True, limit=1)
    limits = aiohttp.ClientTimeout(total=total_s, sock_connect=min(CONNECT_S, total_s))
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=limits,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=MAX_REPLY_LINE,
                max_field_size=MAX_REPLY_LINE,
            ) as session,
            session.post(place.url, data=body, headers=headers, allow_redirects=False) as reply,
        ):
            return _judged(reply.status, reply.headers.get("Retry-After", ""))
    except TimeoutError:
        return Sent(False, f"no answer within {total_s:g} s")
    except aiohttp.ClientConnectorCertificateError as error:
        return Sent(False, f"its certificate does not hold: {error.certificate_error}")
    except aiohttp.ClientConnectorError as error:
        return Sent(False, f"no connection: {error.os_error.strerror or error.os_error}")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Sent(False, f"no answer: {type(error).__name__}")  # its text may hold the URL, and the URL a secret


def body_of(alert: Alert, source: Mapping[str, Any]) -> bytes:
    """The JSON that is sent; fields that would make it too long are left out."""
    whole: dict[str, Any] = {
        "id": alert.id, "type": alert.type, "at_unix_s": alert.at_unix_s, "severity": alert.severity, "text": alert.text,
        "fields": dict(alert.fields), "source": dict(source),
    }  # fmt: skip
    data = orjson.dumps(whole, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS)
    if len(data) > MAX_BODY_BYTES:
        data = orjson.dumps({**whole, "fields": {"left_out": len(data)}}, default=str, option=orjson.OPT_SORT_KEYS)
    return data


def signature(identifier: str, unix_s: float, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The three headers of Standard Webhooks; one signature per secret."""
    stamp = str(int(unix_s))
    signed = f"{identifier}.{stamp}.".encode() + body
    made = [base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets]
    return {
        "webhook-id": identifier, "webhook-timestamp": stamp, "webhook-signature": " ".join(f"v1,{one}" for one in made),
    }  # fmt: skip


def secrets_of(webhook: Webhook) -> list[bytes]:
    """The webhook's secrets, newest first: one a line, text or `whsec_` and base64. Read at each delivery, so a new one counts.

    Raises: ValueError, OSError saying what is wrong, never with the secret in it.
    """
    if webhook.secret_env:
        text = os.environ.get(webhook.secret_env, "")
        if not text:
            raise ValueError(f"the environment has no {webhook.secret_env}")
    else:
        path = Path(webhook.secret_file)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("its secret_file is no file")
            if status.st_mode & 0o007:
                raise ValueError("its secret_file may be read by everybody: chmod 600")
            try:
                text = file.read(MAX_SECRET_BYTES).decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError("its secret_file is no text") from error
    found = [_secret(line.strip()) for line in text.splitlines() if line.strip()]
    if not 1 <= len(found) <= MAX_SECRETS:
        raise ValueError(f"one or {MAX_SECRETS} secrets are expected, one a line")
    return found


def _secret(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else text.encode()
    except ValueError as error:
        raise ValueError(f"its secret begins with {PREFIX} and does not go on in base64") from error
    if len(raw) < MIN_SECRET_BYTES:
        raise ValueError(f"its secret has fewer than {MIN_SECRET_BYTES} bytes")
    return raw


def _trust(webhook: Webhook) -> ssl.SSLContext:
    """Certificates are checked, names too; nothing older than TLS 1.2."""
    context = ssl.create_default_context(cafile=webhook.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _judged(status: int, retry_after: str) -> Sent:
    if 200 <= status < 300:
        return Sent(True, f"answered {status}")
    if 300 <= status < 400:
        return Sent(False, f"answered {status}: redirects are not followed; write the final URL", refused=True)
    wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 8 else 0.0
    refused = 400 <= status < 500 and status not in _TRY_AGAIN
    return Sent(False, f"answered {status}", refused=refused, retry_after_s=min(wait_s, MAX_RETRY_AFTER_S))


class _Pinned(AbstractResolver):
    """Gives the addresses that were checked, whatever DNS says by now."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""
