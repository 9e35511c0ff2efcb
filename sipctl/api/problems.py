"""What the API says when it does not do what was asked: problem details of RFC 9457, each with a stable code.

`code` is for programs and never reworded; `detail` is a sentence for people; `hint` says what to do next. Codes stand in CODES,
so that the OpenAPI document and the tests know them all; a safety rule's own name travels as `rule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import web

from sipctl.errors import SipctlError

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad-request": "The request is not what this route takes.",
        "bad-json": "The body is not JSON, or not the JSON this route takes.",
        "control-character": "A value holds CR, LF or NUL.",
        "reason-required": "A write needs a reason.",
        "unauthorized": "No token, or one that is not known or was revoked.",
        "forbidden": "The token's role does not allow this.",
        "not-found": "There is nothing at this path.",
        "unknown-name": "The plan has nothing of that name.",
        "method-not-allowed": "The path does not take this method.",
        "not-json": "The Content-Type must be application/json.",
        "too-large": "The body is larger than this route takes.",
        "refused": "A safety rule forbids it; `rule` names it, `--force` may override it.",
        "conflict": "What the request builds on has moved on.",
        "invalid": "The controller found the request wrong.",
        "failed": "It was tried and did not work.",
        "lost": "The controller went away before it said what became of it.",
        "not-built": "This part of sipctl is not built yet.",
        "no-view": "No controller has told this desk anything yet.",
        "starting": "The controller has just begun; the same again in a moment.",
        "controller-unreachable": "The controller does not answer; routers go on with what they have.",
        "busy": "Too much of this is already under way.",
        "store-failed": "The store did not read or write.",
        "internal": "A bug in sipctl; the log has more.",
    }
)
RETRY_AFTER_S: Final[Mapping[str, int]] = MappingProxyType({"starting": 2})  # codes that say by themselves when to ask again


class Problem(SipctlError):  # noqa: N818 - the word RFC 9457 uses
    """Ends a request with a problem document."""

    code = "api.problem"

    def __init__(self, status: int, code: str, detail: str, *, hint: str = "", **more: Any) -> None:
        assert code in CODES, code
        super().__init__(detail, hint=hint)
        self.status = status
        self.slug = code
        self.more = more


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {
        "type": f"urn:sipctl:problem:{problem.slug}",
        "title": CODES[problem.slug],
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.slug,
        "hint": problem.hint,
        **problem.more,
    }
    sent = dict(headers or {})
    if problem.slug in RETRY_AFTER_S:
        sent["Retry-After"] = str(RETRY_AFTER_S[problem.slug])
    return web.Response(
        status=problem.status, body=orjson.dumps(body, default=str), content_type="application/problem+json", headers=sent
    )


def json_answer(body: Any, status: int = 200) -> web.Response:
    """A JSON answer; nothing of it may be kept by a cache."""
    data = orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(status=status, body=data, content_type="application/json", headers={"Cache-Control": "no-store"})
