"""An audit record as those may see it who may not know who called whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sipctl.telemetry.mask import masked, spell_out

_NEVER_NUMBERS: Final = frozenset({"n", "hash", "prev", "at", "by", "build", "id", "kind", "op", "outcome", "rule"})


def masked_record(body: Mapping[str, Any]) -> dict[str, Any]:
    """Every phone number in it masked; what cannot be one stays as it is."""
    return {
        name: (spell_out(value) if isinstance(value, str) else value) if name in _NEVER_NUMBERS else masked(name, value)
        for name, value in body.items()
    }
