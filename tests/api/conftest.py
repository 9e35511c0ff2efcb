"""A running desk for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.api.support import RunningDesk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[RunningDesk]:
    running = RunningDesk(tmp_path)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def admin(desk: RunningDesk) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with the first admin's token."""
    headers = {"Authorization": f"Bearer {desk.secret()}"}
    async with aiohttp.ClientSession(f"http://{desk.address}", headers=headers) as session:
        yield session


@pytest.fixture
async def nobody(desk: RunningDesk) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{desk.address}") as session:
        yield session
