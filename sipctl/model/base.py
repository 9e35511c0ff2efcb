"""What all parts of a plan have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Plain(BaseModel):
    """Base of all parts of a plan: no unknown key, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
