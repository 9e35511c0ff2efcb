"""Somebody who receives webhooks: a raw server on loopback that counts connections, keeps requests, answers as told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

OK = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """A raw server: counts connections, keeps requests, answers as told."""

    def __init__(self, answer: bytes | Answering = OK) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.news = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if callable(self.answer):
                await self.answer(reader, writer)
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            self.requests.append((head[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))))
            self.news.set()
            writer.write(self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(
    answer: bytes | Answering = OK, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def heard(receiver: Receiver, count: int) -> list[tuple[str, dict[str, str], bytes]]:
    """The requests, once there are so many."""
    async with asyncio.timeout(10):
        while len(receiver.requests) < count:
            receiver.news.clear()
            await receiver.news.wait()
    return receiver.requests
