"""The desk's alerts: reads `STATE/alerts.yaml`, watches views and notices, delivers to webhooks, remembers what did not arrive.

Each webhook has a task and a queue of its own, so a dead one delays nobody. What waits, and which alarms were told, is kept in
`STATE/alerts/kept.json`, so that a desk that starts goes on with it. Every alert is a line of the log too: that is the log sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import secrets
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from sipctl.api import bodies
from sipctl.api.audit import AUDIT
from sipctl.api.context import principal
from sipctl.api.problems import Problem, json_answer
from sipctl.control.ports import Notice, View
from sipctl.telemetry.alert_config import FILE, AlertsConfig, AlertsConfigError, Webhook, read_config
from sipctl.telemetry.alert_delivery import Resolve, deliver
from sipctl.telemetry.alerts import MAX_QUEUED, AlarmWatch, Alert, Kept, Outbox, a_test, of_notice, wants

KEPT: Final = "alerts/kept.json"
MAX_KEPT_BYTES: Final = 64 << 20
LOOK_S: Final = 2.0  # the file is looked at so often
SAVE_S: Final = 1.0  # and what waits is written at most so often
TELL_AGAIN_S: Final = 20.0  # while a webhook fails: the alarm that is made of it stands for a minute
CANCEL_S: Final = 0.1
MAX_EARLY: Final = 1_000  # notices

Failed = Callable[[str, str], None]


class Alerts:
    """One desk's alerts.

    Args:
        log: told each alert, and what becomes of it; failed: told what cannot be done: becomes an alarm.
        resolve: host and port → addresses; None: the system's resolver, on threads of its own.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        mono_s: Callable[[], float],
        wall_s: Callable[[], float],
        log: Callable[..., None],
        failed: Failed,
        node: str = "",
        audited: Callable[..., None] = lambda *told, **more: None,
        resolve: Resolve | None = None,
    ) -> None:
        self.config = AlertsConfig()
        self.outboxes: dict[str, Outbox] = {}
        self.fault = ""  # why the file is not in force
        self._path = state_dir / FILE
        self._kept_path = state_dir / KEPT
        self._mono_s = mono_s
        self._wall_s = wall_s
        self._log = log
        self._failed = failed
        self._audited = audited
        self._source = {"node": node, "build": f"sipctl {version('sipctl')}"}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="alerts-dns")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="alerts-disk")  # one: what is kept last is written last
        self._resolve = resolve if resolve is not None else self._resolved
        self._watch = AlarmWatch()
        self._seen: tuple[int, int, int] | None = None  # the file, as it was read last
        self._digest = ""
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._told_failing_s: dict[str, float] = {}
        self._is_changed = False
        self._left: dict[str, list[Any]] = {}  # queues of before, until their webhooks are known
        self._early: deque[Notice] | None = deque(maxlen=MAX_EARLY)  # until what was kept and the file are read

    # -- what happens ----------------------------------------------------------------------------------------------------------

    def on_view(self, view: View) -> None:
        """The controller lives and says which alarms stand."""
        if self._early is not None:
            return  # the next view comes within a second
        for alert in self._watch.turn(view.status.get("alarms") or (), self._mono_s(), self._wall_s()):
            self.tell(alert)

    def on_notice(self, notice: Notice) -> None:
        if self._early is not None:
            self._early.append(notice)
            return
        alert = of_notice(notice.kind, notice.text, notice.at_unix_s, notice.fields)
        if alert is not None and any(wants(webhook, alert) for webhook in self.config.webhooks):
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        """Queue one alert for everybody who wants it; never waits."""
        told = [webhook.name for webhook in self.config.webhooks if wants(webhook, alert)]
        for name in told:
            self.outboxes[name].put(alert, self._mono_s(), self._wall_s())
            self._news[name].set()
        self._is_changed = True
        self._log("alert", alert=alert.id, type=alert.type, severity=alert.severity, text=alert.text, to=told)

    # -- duties ----------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Read the file whenever it changes, keep what waits; for ever."""
        await asyncio.to_thread(self._load_kept)
        looked_s = -LOOK_S
        while True:
            if self._mono_s() - looked_s >= LOOK_S:
                looked_s = self._mono_s()
                await self._look()
            if self._early is not None:
                early, self._early = self._early, None
                for notice in early:
                    self.on_notice(notice)
            if self._is_changed:
                await self._save()
            self._tell_failing()
            await asyncio.sleep(SAVE_S)

    async def close(self) -> None:
        senders = set(self._senders.values())
        while senders:  # again and again: what they wait in may swallow a cancellation that meets its result
            for task in senders:
                task.cancel()
            _, senders = await asyncio.wait(senders, timeout=CANCEL_S)
        if self._is_changed:
            await self._save()
        self._threads.shutdown(wait=False)
        self._disk.shutdown(wait=False)

    async def _look(self) -> None:
        try:
            stat = await asyncio.to_thread(self._path.stat)
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            data = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            seen, data = (0, 0, 0), b""
            if self._seen in (None, seen):
                self._seen = seen
                self._take(AlertsConfig(), "")
                return
        except OSError as error:
            self._refuse(f"{FILE} cannot be read: {error.strerror}")
            return
        self._seen = seen
        try:
            config = read_config(data)
        except AlertsConfigError as error:
            self._refuse(f"{FILE} is not in force, the one before is: {error.detail}")
            return
        self.fault = ""
        self._take(config, hashlib.sha256(data).hexdigest() if data else "")

    def _refuse(self, text: str) -> None:
        if text != self.fault:
            self.fault = text
            self._log(text)

    def _take(self, config: AlertsConfig, digest: str) -> None:
        """Another file is in force."""
        names = [webhook.name for webhook in config.webhooks]
        if digest != self._digest:
            text = f"{FILE} is in force: {', '.join(names) or 'no webhook'}"
            self._log(text)
            args = {"sha256": digest, "webhooks": names, "hosts": list(config.targets.hosts)}
            self._audited("config", "alerts-file", "sipctl", text, args=args)
        self._digest, self.config = digest, config
        for name in set(self.outboxes) - set(names):
            self._senders.pop(name).cancel()
            gone = self.outboxes.pop(name)
            self._log("a webhook is no longer there", webhook=name, undelivered=len(gone.waiting))
        for name in names:
            if name not in self.outboxes:
                self.outboxes[name] = Outbox(name, deque(self._left.pop(name, ())))
                self._news[name] = asyncio.Event()
                self._senders[name] = asyncio.ensure_future(self._send(name))

    def _tell_failing(self) -> None:
        if self.fault:
            self._again("", "alerts-file", self.fault)
        for name, outbox in self.outboxes.items():
            if outbox.is_failing:
                text = f"webhook {name} has failed {outbox.failures} times in a row: {outbox.last_error}; "
                self._again(name, f"webhook:{name}", f"{text}{len(outbox.waiting)} alerts wait")
            else:
                self._told_failing_s.pop(name, None)

    def _again(self, name: str, what: str, text: str) -> None:
        now_s = self._mono_s()
        if now_s - self._told_failing_s.get(name, -TELL_AGAIN_S) >= TELL_AGAIN_S:
            self._told_failing_s[name] = now_s
            self._failed(what, text)

    # -- sending ---------------------------------------------------------------------------------------------------------------

    async def _send(self, name: str) -> None:
        """Deliver what waits for one webhook, one after the other, for as long as it is in the file."""
        outbox, news = self.outboxes[name], self._news[name]
        while self.outboxes.get(name) is outbox:
            one = outbox.due(self._mono_s())
            if one is None:
                news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(outbox.wait_s(self._mono_s(), LOOK_S)):
                        await news.wait()
                continue
            webhook = self._webhook(name)
            sent = await deliver(webhook, self.config.targets, one.alert, self._source, self._wall_s(), resolve=self._resolve)
            self._is_changed = True
            if sent.ok:
                outbox.sent(one, self._wall_s())
                continue
            is_over = outbox.failed(
                one, sent.text, self._mono_s(), self._wall_s(), jitter=random.random(), refused=sent.refused,
                retry_after_s=sent.retry_after_s,
            )  # fmt: skip
            if is_over or one.tries == 1:
                told = "an alert was given up" if is_over else "an alert did not arrive; it is tried again"
                self._log(told, webhook=name, alert=one.alert.id, why=sent.text, tries=one.tries)

    def _webhook(self, name: str) -> Webhook:
        return next(webhook for webhook in self.config.webhooks if webhook.name == name)

    async def test(self, name: str, actor: str) -> Mapping[str, Any]:
        """Send one alert to one webhook now, past its queue. Raises: Problem 404, 502."""
        if name not in self.outboxes:
            known = ", ".join(self.outboxes) or "none"
            raise Problem(404, "unknown-name", f"there is no webhook {name}", hint=f"{FILE} has: {known}")
        alert = a_test(actor, self._wall_s(), secrets.token_hex(8))
        webhook = self._webhook(name)
        sent = await deliver(webhook, self.config.targets, alert, self._source, self._wall_s(), resolve=self._resolve)
        if not sent.ok:
            raise Problem(502, "failed", f"webhook {name}: {sent.text}", hint="sipctl alerts ls; docs/alerts.md")
        return {"webhook": name, "id": alert.id, "text": f"webhook {name} {sent.text}"}

    def shown(self) -> dict[str, Any]:
        """What there is; of each URL only its host: the rest may be a secret."""
        return {
            "file": str(self._path), "fault": self.fault or None,
            "hosts": list(self.config.targets.hosts), "networks": [str(one) for one in self.config.targets.networks],
            "webhooks": [self._shown(webhook) for webhook in self.config.webhooks],
        }  # fmt: skip

    def _shown(self, webhook: Webhook) -> dict[str, Any]:
        outbox = self.outboxes[webhook.name]
        return {
            "name": webhook.name, "host": webhook.place.host, "port": webhook.place.port, "tls": webhook.place.is_tls,
            "events": list(webhook.events), "severity": webhook.severity, "waiting": len(outbox.waiting),
            "delivered": outbox.delivered, "failures": outbox.failures, "dropped": outbox.dropped, "given_up": outbox.given_up,
            "last_error": outbox.last_error or None, "last_ok_unix_s": outbox.last_ok_unix_s,
        }  # fmt: skip

    @property
    def counts(self) -> dict[str, int]:
        boxes = self.outboxes.values()
        return {
            "alerts.delivered": sum(one.delivered for one in boxes), "alerts.dropped": sum(one.dropped for one in boxes),
            "alerts.given-up": sum(one.given_up for one in boxes),
        }  # fmt: skip

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        """The system's resolver: a hung one holds up alerts and nothing else."""
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        return [str(one[4][0]) for one in found]

    # -- over a restart --------------------------------------------------------------------------------------------------------

    def _load_kept(self) -> None:
        try:
            if self._kept_path.stat().st_size > MAX_KEPT_BYTES:
                raise ValueError("it is too large")
            kept = msgspec.json.decode(self._kept_path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return
        except (OSError, ValueError, msgspec.DecodeError) as error:
            self._log(f"what alerts waited before cannot be read: {error}")
            return
        self._watch = AlarmWatch(kept.told)
        self._left = {name: list(waiting[-MAX_QUEUED:]) for name, waiting in kept.queues.items()}

    async def _save(self) -> None:
        self._is_changed = False
        queues = {**self._left, **{name: list(box.waiting) for name, box in self.outboxes.items() if box.waiting}}
        data = msgspec.json.encode(Kept(_forgetful(self._watch.told), {name: _due_now(box) for name, box in queues.items()}))
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, _write_whole, self._kept_path, data)
        except asyncio.CancelledError:
            self._is_changed = True  # the desk ends meanwhile: `close` writes once more
            raise
        except OSError as error:
            self._is_changed = True
            self._again("kept", "alerts", f"undelivered alerts cannot be kept: {error.strerror}")


def _forgetful(told: Mapping[str, Any]) -> dict[str, Any]:
    """Without instants of this machine's life."""
    return {name: msgspec.structs.replace(one, gone_s=None) for name, one in told.items()}


def _due_now(waiting: Sequence[Any]) -> list[Any]:
    return [msgspec.structs.replace(one, due_s=0.0) for one in waiting]


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


ALERTS: Final = web.AppKey("alerts", Alerts)


async def ls(request: web.Request) -> web.StreamResponse:
    """The webhooks and how they do."""
    return json_answer(request.app[ALERTS].shown())


async def test(request: web.Request) -> web.StreamResponse:
    """Send a test to one webhook, now."""
    body = await bodies.read_body(request, bodies.Write)
    name, actor = request.match_info["name"], principal(request).name
    alerts = request.app[ALERTS]
    if body.dry_run:
        return json_answer({"webhook": name, "dry_run": True, "text": f"would send a test to webhook {name}"})
    told = await alerts.test(name, actor)
    request.app[AUDIT].put("operation", "alerts-test", actor, str(told["text"]), reason=body.reason, args={"webhook": name})
    return json_answer(told)
