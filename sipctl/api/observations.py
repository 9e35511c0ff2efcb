"""`GET /v1/observations`: what live calls show, by SBC, pair, tenant, entry point or trunk; counted by this desk itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from sipctl.api.bodies import query_text
from sipctl.api.context import STATE
from sipctl.api.problems import Problem, json_answer
from sipctl.api.reads import known
from sipctl.control.observed import shown
from sipctl.health.observed import SPANS
from sipctl.telemetry.observing import CallObserver

OBSERVER: Final = web.AppKey("observer", CallObserver)
KINDS: Final[Mapping[str, str]] = {
    "sbc": "sbcs", "pair": "", "tenant": "tenants", "entry-point": "entry_points", "trunk": "trunks",
}  # fmt: skip  # kind → where the view names them, "" where it does not
SHORT: Final = ("sbc", "pair", "tenant", "trunk")  # told when nobody asks for a kind: entry points are many


async def observations(request: web.Request) -> web.StreamResponse:
    """Windows of one subject, of a kind, or of all kinds but entry points; `window` leaves out the other spans."""
    state, observer = request.app[STATE], request.app[OBSERVER]
    kind, name, window = (query_text(request, word) for word in ("kind", "name", "window"))
    if kind is not None and kind not in KINDS:
        raise Problem(400, "bad-request", f"kind is one of {', '.join(KINDS)}, not {kind!r}")
    if window is not None and window not in SPANS:
        raise Problem(400, "bad-request", f"window is one of {', '.join(SPANS)}, not {window!r}")
    if name is not None and kind is None:
        raise Problem(400, "bad-request", "a name needs its kind", hint="/v1/observations?kind=sbc&name=fra-a")
    now_s = state.mono_s()
    view = state.view
    if name is not None and kind is not None:
        known(name, {*observer.observed.names(_inner(kind)), *_planned(view, kind)}, kind.replace("-", " "))
    doubts = _doubts(view)
    rows = []
    for each in (kind,) if kind is not None else SHORT:
        names = (name,) if name is not None else sorted(observer.observed.names(_inner(each)))
        for one in names:
            told = shown(observer.observed.windows(_inner(each), one, now_s))
            windows = {span: told[span] for span in SPANS if window in (None, span)}
            row: dict[str, Any] = {"kind": each, "name": one, "windows": windows}
            rows.append({**row, "doubtful": doubts.get(one)} if each == "sbc" else row)
    judging = (view.status.get("observations") or {}) if view is not None else {"reason": "no controller has spoken yet"}
    body = {
        "since_age_s": round(max(0.0, now_s - observer.since_s), 1), "late": observer.late,
        "judged": bool(judging.get("judged")), "reason": judging.get("reason") or "",
        "observations": rows,
    }  # fmt: skip
    return json_answer(body)


def _inner(kind: str) -> str:
    return kind.replace("-", "_")


def _planned(view: Any, kind: str) -> tuple[str, ...]:
    """Names of the live plan: who had no call yet has empty windows, and is not unknown."""
    section = KINDS[kind]
    if view is None or not section:
        return ()
    return tuple((view.detail if kind == "entry-point" else view.status).get(section) or ())


def _doubts(view: Any) -> dict[str, Any]:
    sbcs = (view.status.get("sbcs") or {}) if view is not None else {}
    return {name: sbc["doubtful"] for name, sbc in sbcs.items() if sbc.get("doubtful")}
