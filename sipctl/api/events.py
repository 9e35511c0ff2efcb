"""`GET /v1/events`: the running story as server-sent events, resumable with Last-Event-ID."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import web

from sipctl.api.bodies import check_string
from sipctl.api.context import STATE, principal
from sipctl.api.problems import Problem
from sipctl.api.ring import MAX_LISTENERS, Entry, EventRing

KEEP_ALIVE_S: Final = 15.0
RETRY_MS: Final = 2_000


async def events(request: web.Request) -> web.StreamResponse:
    """Send what comes, until the listener leaves, its token is revoked or the desk ends.

    Whoever missed something is told by a `reset` event first.
    """
    state, listener = request.app[STATE], principal(request)
    ring = state.ring
    if ring.listeners >= MAX_LISTENERS:
        raise Problem(503, "busy", f"{ring.listeners} listeners are connected already", hint="close one, or poll /v1/status")
    position, has_missed = ring.position(check_string(request.headers.get("Last-Event-ID", "")))
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    ring.listeners += 1
    try:
        await response.prepare(request)
        await response.write(f"retry: {RETRY_MS}\n: listening\n\n".encode())
        while state.is_active(listener):
            entries, is_gone = ring.after(position)
            if has_missed or is_gone:
                has_missed = False
                await response.write(_reset(ring, entries[0].number - 1 if entries else ring.last))
            for entry in entries:
                await response.write(_event(ring, entry))
                position = entry.number
            position = max(position, ring.last if not entries else position)
            if not entries:
                await ring.wait(position, KEEP_ALIVE_S)
                if ring.last == position:
                    await response.write(b": still here\n\n")
    except ConnectionError:
        pass
    finally:
        ring.listeners -= 1
    return response


def _event(ring: EventRing, entry: Entry) -> bytes:
    notice = entry.notice
    body = {"kind": notice.kind, "text": notice.text, "at_unix_s": notice.at_unix_s, "fields": dict(notice.fields)}
    data = orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS)
    kind = "".join(character for character in notice.kind if character.isalnum() or character == "-")
    return f"id: {ring.id_of(entry.number)}\nevent: {kind}\ndata: ".encode() + data + b"\n\n"


def _reset(ring: EventRing, number: int) -> bytes:
    text = b'{"text":"some events were missed: read /v1/status"}'
    return f"id: {ring.id_of(number)}\nevent: reset\ndata: ".encode() + text + b"\n\n"
