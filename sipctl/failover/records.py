"""A decision written down whole, and the same decision again from what was written (CALLS 4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sipctl.failover.group import decide
from sipctl.failover.memory import Inputs, Memory, Step


def written_memory(memory: Memory) -> dict[str, Any]:
    """The memory as plain data."""
    plain = msgspec.to_builtins(memory)
    assert isinstance(plain, dict)
    return plain


def written_inputs(inputs: Inputs) -> dict[str, Any]:
    plain = msgspec.to_builtins(inputs)
    assert isinstance(plain, dict)
    return plain


def read_memory(plain: Mapping[str, Any]) -> Memory:
    """The memory from plain data; unknown keys are ignored.

    Raises: msgspec.ValidationError if it is none.
    """
    return msgspec.convert(dict(plain), Memory)


def replay(before: Mapping[str, Any], inputs: Mapping[str, Any]) -> Step:
    """Decide again from what a record holds."""
    return decide(read_memory(before), msgspec.convert(dict(inputs), Inputs))
