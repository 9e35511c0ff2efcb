"""Orders that were given on this node, past controller and desk: recorded by the command that gave them.

The controller that takes them over records them again, as decisions; this record is there also if none ever does, and tells of
those that were refused.
"""

from __future__ import annotations

import os
import pwd
import time
from importlib.metadata import version
from pathlib import Path

from sipctl.cli.output import complain
from sipctl.control.audit import AuditEntry
from sipctl.errors import StoreError
from sipctl.store.audit_log import FOLDER, AuditLog
from sipctl.store.audit_writer import body_of
from sipctl.supervisor.local_wire import End, Give


def record_local(root: Path, give: Give, end: End) -> None:
    """Write it down; what the disk refuses is said and stops nothing: in an emergency the order counts."""
    groups = end.body.get("groups")
    entry = AuditEntry(
        "local", f"local-{give.kind}", _user(), end.text, time.time(), outcome=end.status, reason=give.reason,
        rule=end.rule, dry_run=give.dry_run, force=give.force,
        groups=tuple(map(str, groups)) if isinstance(groups, list | tuple) else (give.group,) if give.group else (),
        args={"to": give.to, "group": give.group, "tenant": give.tenant, "all": give.every},
    )  # fmt: skip
    always = {"by": f"cli/{os.getpid()}", "build": f"sipctl {version('sipctl')}"}
    try:
        AuditLog(root / FOLDER).append([body_of(entry, always)], time.time())
    except StoreError as error:
        complain(f"this is not in the audit: {error.detail}", error.hint)


def _user() -> str:
    """As the history names who gives orders on the node."""
    try:
        return f"local:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"local:{os.getuid()}"
