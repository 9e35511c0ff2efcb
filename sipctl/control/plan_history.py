"""What the revisions so far say about a new one: was its content rolled back, and who changed what since its base.

History is only ever added to. A rollback is a revision of its own; it undoes the content of every revision that was live after
the one it goes back to. Undone content does not come back by accident, such as by an editor's old copy: only who says `again`
may apply it, and then it is undone no longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from sipctl.control.ports import Revision

MAX_HISTORY: Final = 1000  # revisions looked back at; what was rolled back before them may be applied again
MAX_CONFLICTS: Final = 20  # revisions told to the second of two editors


def content_of(files: Mapping[str, str]) -> str:
    """A digest of the files: equal for equal plans, whoever applied them when."""
    digest = blake2b(digest_size=32)
    for path in sorted(files):
        for text in (path, files[path]):
            raw = text.encode("utf-8", "surrogateescape")
            digest.update(len(raw).to_bytes(8, "little"))
            digest.update(raw)
    return digest.hexdigest()


def undone(history: Iterable[Revision]) -> dict[str, tuple[Revision, Revision]]:
    """Contents that were rolled back and not applied again since.

    Args:
        history: revisions in any order, without their files.
    Returns: content → (the revision that had it last, the rollback that undid it).
    """
    found: dict[str, tuple[Revision, Revision]] = {}
    lived = sorted((one for one in history if one.live_at_unix_s is not None), key=lambda one: one.number)
    for at, revision in enumerate(lived):
        found.pop(revision.content, None)
        if revision.rollback_to is None:
            continue
        for left in lived[:at]:
            if left.number > revision.rollback_to and left.content not in ("", revision.content):
                found[left.content] = (left, revision)
    return found


def fallen(history: Iterable[Revision]) -> dict[str, Revision]:
    """Contents whose canary went back by itself, and that were not tried again since: content → that revision."""
    found: dict[str, Revision] = {}
    for revision in sorted(history, key=lambda one: one.number):
        found.pop(revision.content, None)
        if revision.fell and revision.content:
            found[revision.content] = revision
    return found


def is_still_base(history: Iterable[Revision], base: int, live: int) -> bool:
    """Whether somebody who builds on `base` builds on what is live: also on a canary of it that never became live itself."""
    return base == live or any(
        one.number == base and one.base == live and one.canary and one.live_at_unix_s is None for one in history
    )


def changes_since(history: Sequence[Revision], base: int) -> list[dict[str, Any]]:
    """What others made live after a base, oldest first: for the editor who comes second."""
    since = sorted((one for one in history if one.number > base and one.live_at_unix_s is not None), key=lambda one: one.number)
    return [
        {
            "revision": one.number, "author": one.author, "reason": one.reason, "rollback_to": one.rollback_to,
            "diff": list(one.diff),
        }
        for one in since[-MAX_CONFLICTS:]
    ]  # fmt: skip
