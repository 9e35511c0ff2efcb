"""A small blocking client of the API, and how its answers become exit codes.

Where: SIPCTL_API (`host:port` or a URL), else STATE/run/api. Who: the file SIPCTL_TOKEN_FILE names, else STATE/admin.token. The
token is never shown, logged, or sent anywhere but there: redirects are not followed.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

import typer

from sipctl.cli.output import complain

EXIT_OK: Final = 0
EXIT_UNHEALTHY: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_TIMEOUT: Final = 4
EXIT_UNREACHABLE: Final = 5

MAX_ANSWER_BYTES: Final = 256 << 20
CONNECT_TIMEOUT_S: Final = 5.0
_EXIT_OF: Final[Mapping[str, int]] = MappingProxyType(
    {
        "refused": EXIT_REFUSED, "conflict": EXIT_REFUSED,
        "failed": EXIT_UNHEALTHY, "internal": EXIT_UNHEALTHY, "store-failed": EXIT_UNHEALTHY, "busy": EXIT_UNHEALTHY,
        "lost": EXIT_UNHEALTHY,
        "controller-unreachable": EXIT_UNREACHABLE, "no-view": EXIT_UNREACHABLE, "starting": EXIT_UNREACHABLE,
    }
)  # fmt: skip


class UnreachableError(Exception):
    """Nobody answers where the API should be."""


class ApiProblemError(Exception):
    """The API answered with a problem document."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body
        self.code = str(body.get("code") or "failed")
        super().__init__(str(body.get("detail") or f"HTTP {status}"))

    @property
    def exit_code(self) -> int:
        return _EXIT_OF.get(self.code, EXIT_USAGE if self.status < 500 or self.status == 501 else EXIT_UNHEALTHY)


class Client:
    """One API and one token."""

    def __init__(self, scheme: str, host: str, port: int, prefix: str, token: str) -> None:
        self._scheme = scheme
        self._host = host
        self._port = port
        self._prefix = prefix
        self._token = token

    @classmethod
    def find(cls, state: Path) -> Client:
        """Raises: UnreachableError if nothing says where the API is; typer.Exit 2 for a wrong address or no readable token."""
        return cls(*_address(state), token=_token(state))

    def get(self, path: str, query: Mapping[str, Any] | None = None, timeout_s: float = 30.0) -> dict[str, Any]:
        wanted = {key: str(value) for key, value in (query or {}).items() if value is not None}
        return self.request("GET", f"{path}?{urllib.parse.urlencode(wanted)}" if wanted else path, None, timeout_s)

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float = 60.0) -> dict[str, Any]:
        return self.request("POST", path, body, timeout_s)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        """One request.

        Raises: UnreachableError if nobody answers, ApiProblemError for anything but a 2xx or 3xx answer in JSON.
        """
        secure = self._scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
            connection.sock.settimeout(timeout_s)
            connection.request(method, self._prefix + path, data, headers)
            response = connection.getresponse()
            raw = response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"the API at {self._host}:{self._port} does not answer: {error}") from error
        finally:
            connection.close()
        return _answer(response.status, raw)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def stop(code: int, text: str, hint: str = "") -> NoReturn:
    """Say why on stderr and end with that code."""
    complain(text, hint)
    raise typer.Exit(code)


def _answer(status: int, raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiProblemError(
            status if status >= 400 else 502, {"detail": "what answers there is not sipctl's API", "code": "failed"}
        )
    if not 200 <= status < 300:
        raise ApiProblemError(status, body)
    return body


def _address(state: Path) -> tuple[str, str, int, str]:
    """(scheme, host, port, path prefix) of the API."""
    text = os.environ.get("SIPCTL_API", "").strip()
    source = "SIPCTL_API"
    if not text:
        source = str(state / "run" / "api")
        try:
            text = (state / "run" / "api").read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnreachableError(f"no sipctl has run on {state}: {error}") from error
    url = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = url.port
    except ValueError:
        port = None
        url = url._replace(netloc="")
    if url.scheme not in ("http", "https") or not url.hostname:
        stop(EXIT_USAGE, f"{source} says {text!r}, which is no address", "such as 127.0.0.1:8080 or https://sip.example:8443")
    return url.scheme, url.hostname, port or (443 if url.scheme == "https" else 8080), url.path.rstrip("/")


def _token(state: Path) -> str:
    named = os.environ.get("SIPCTL_TOKEN_FILE")
    path = Path(named) if named else state / "admin.token"
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        stop(EXIT_USAGE, f"no token: {path} cannot be read: {reason}", "SIPCTL_TOKEN_FILE names a file with a token of yours")
    if not token.isascii() or not token.isprintable() or not token:
        stop(EXIT_USAGE, f"{path} holds no token", "one line, as `sipctl token create` printed it")
    return token
