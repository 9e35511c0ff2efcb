"""Every error sipctl raises on purpose, sorted by who must act on it.

Three kinds.  A peer's mistake is answered, an operator's mistake is reported whole (every finding at once), an engine's or
a store's failure is retried or raises an alarm.  The outcome of a call (busy, no route, timed out) is a value, never an
exception.  A broken invariant is an ``AssertionError``; only the driver's outermost loop catches it.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

Severity = Literal["error", "warning"]

EXIT_UNHEALTHY: Final = 1
EXIT_USAGE: Final = 2  # usage or bad configuration
EXIT_REFUSED: Final = 3  # a safety rule, named


class SipctlError(Exception):
    """Base of all intended errors.

    ``code`` is a stable slug used in logs, metrics and API bodies: codes are added, never reworded.  ``hint`` is one
    sentence that says what to do.  ``exit_code`` is what a command ends with.
    """

    code: ClassVar[str] = "sipctl.error"
    exit_code: ClassVar[int] = EXIT_USAGE

    def __init__(self, detail: str, *, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


# ── the peer's fault: answer it ──────────────────────────────────────────────────────────────────────────────────────


class SipSyntaxError(SipctlError):
    """A peer sent bytes that are not SIP: answer ``status``, never crash."""

    code = "sip.syntax"

    def __init__(self, detail: str, *, offset: int, status: int = 400) -> None:
        assert 400 <= status <= 699
        super().__init__(detail, hint=f"reply {status}; first bad octet at {offset}")
        self.offset = offset  # octets from the start of what was parsed
        self.status = status  # response code to send, RFC 3261 §21.4


# ── the operator's fault: report all of it ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in one file of a plan; line and column count from 1, 0 where the file as a whole is meant."""

    path: str
    line: int
    column: int
    code: str
    severity: Severity
    message: str
    hint: str = ""
    excerpt: str = ""  # the line it stands in, as written

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.severity} {self.code}: {self.message}"


class PlanError(SipctlError):
    """A plan was refused; carries every finding, warnings too, not only the first.

    `run` and `apply` end with 2 for it; `check`, whose job is to find it, with 1.
    """

    code = "plan.invalid"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        errors = sum(1 for finding in findings if finding.severity == "error")
        assert errors, "refusing a plan needs at least one error"
        super().__init__(
            f"{errors} error{'' if errors == 1 else 's'} in the plan",
            hint="run `sipctl check` to see each with its file, line and column",
        )
        self.findings = findings

    def __reduce__(self) -> "tuple[type[PlanError], tuple[tuple[Finding, ...]]]":
        """Sent to another process it is made again from its findings."""
        return type(self), (self.findings,)


class Refused(SipctlError):  # noqa: N818 - reads as the sentence it is
    """A safety rule forbids what was asked, although it was well formed; ``rule`` is the stable name of that rule."""

    code = "refused"
    exit_code = EXIT_REFUSED

    def __init__(self, rule: str, detail: str, *, hint: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.rule = rule


# ── an engine's or a store's failure: retry or alarm ─────────────────────────────────────────────────────────────────


class SnapshotError(SipctlError):
    """A snapshot is damaged, of an unknown format, or names something it does not contain: the older one is used."""

    code = "snapshot.invalid"
    exit_code = EXIT_UNHEALTHY


class EngineError(SipctlError):
    """An engine did not do what it was asked; ``retryable`` says if asking again can help."""

    code = "engine.failed"
    exit_code = EXIT_UNHEALTHY
    retryable: ClassVar[bool] = True


class StoreError(SipctlError):
    """The store did not read or write; decisions go on, writes are tried again and an alarm stands meanwhile."""

    code = "store.failed"
    exit_code = EXIT_UNHEALTHY
    retryable: ClassVar[bool] = True
