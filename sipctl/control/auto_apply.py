"""Applying the folder by itself, for those who want it (`run --watch`): each edit that is sound becomes a revision.

The folder may only go on from what it was: the live revision, made from this folder or equal to it. What somebody applied from
elsewhere is not overwritten by a save. An edit that is not applied, because it is broken, rolled back, or in conflict, changes
nothing; it is an alarm until the next edit, told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sipctl.control.plan_canary import CANARY_RUNNING
from sipctl.control.plan_history import content_of
from sipctl.control.plans import Plans
from sipctl.control.ports import Answer, Command
from sipctl.control.world import Faults
from sipctl.errors import SipctlError

ACTOR: Final = "watch"
MAX_ID: Final = 10  # letters of a content in ids


class AutoApply:
    """One folder that is watched.

    Args:
        read_folder: the folder's files; blocks, is run in a thread.
        apply: carries a command out; returns why not, or None if the plan is live.
        report: told the fault of kind "watch" whenever it changes.
    """

    def __init__(
        self,
        plans: Plans,
        read_folder: Callable[[], Mapping[str, str] | None],
        apply: Callable[[Command], Awaitable[Answer | None]],
        report: Callable[[Faults], None],
    ) -> None:
        self._plans = plans
        self._read_folder = read_folder
        self._apply = apply
        self._report = report
        self._from = 0  # the live revision this folder is an edit of; 0: none
        self._settled: str | None = None  # content that was judged: it is live, or an alarm says why not
        self._is_refused = False
        self._judging = asyncio.Lock()

    def goes_on_from(self, revision: int) -> None:
        """The folder is that revision's, as a start found."""
        self._from = revision

    async def look(self) -> None:
        """Read the folder and apply it if it changed; called after each burst of saves, and now and then."""
        async with self._judging:
            try:
                folder = await asyncio.to_thread(self._read_folder)
            except (SipctlError, OSError) as error:
                self._refuse(f"unreadable: {error}", f"the folder cannot be read: {error}")
                return
            if folder is None:
                self._refuse("unreadable", "the folder cannot be read, or is no plan")
            elif folder == self._plans.files:
                self._from = self._plans.live
                self._settle(content_of(folder))
            else:
                await self._edited(folder)

    async def _edited(self, folder: Mapping[str, str]) -> None:
        content = await asyncio.to_thread(content_of, folder)
        live = self._plans.live
        if content == self._settled:
            return
        if self._from != live:
            text = f"the folder differs from live revision {live}, which was not made from it: sipctl diff, then sipctl apply"
            self._refuse(content, text)
            return
        command = Command(f"op-watch-{content[:MAX_ID]}", "apply", {"files": folder, "base": live}, ACTOR, "the folder changed")
        was_canarys = self._is_canarys(content)
        answer = await self._apply(command)
        if answer is not None:
            self._refuse(content, f"the edit of the folder is not applied: {_why(answer)}")
            if answer.code == CANARY_RUNNING and not (was_canarys or self._is_canarys(content)):
                self._settled = None  # it waits for the canary's end; the canary's own content is promoted, or was not wanted
            return
        self._from = self._plans.live
        self._settle(content)

    def _is_canarys(self, content: str) -> bool:
        canary = self._plans.canary
        return canary is not None and canary[0].content == content

    def _settle(self, content: str) -> None:
        self._settled = content
        if self._is_refused:
            self._is_refused = False
            self._report(Faults("watch", {}))

    def _refuse(self, content: str, text: str) -> None:
        """One alarm for one content, however often it is looked at."""
        if self._settled != content:
            self._settled, self._is_refused = content, True
            self._report(Faults("watch", {content_of({"": content})[:MAX_ID]: text}))


def _why(answer: Answer) -> str:
    """The answer, with the first finding there is."""
    findings: list[Any] = [one for one in answer.body.get("findings") or () if one.get("severity") == "error"]
    if not findings:
        return f"{answer.text}{f' (rule {answer.code})' if answer.status == 'refused' else ''}"
    first = findings[0]
    place = f"{first.get('path')}:{first.get('line')}:{first.get('column')}"
    return f"{answer.text}: {place}: {first.get('code')}: {first.get('message')}"
