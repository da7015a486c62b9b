"""A local TCP proxy that can fall silent, and can cut everybody off: the network between two processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the proxy leads: a Unix socket, or a port of this machine."""

    path: str | None = None
    port: int = 0


class Proxy:
    """One listening port that leads to a server."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._thread.start()
        self._server = self._run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def fall_silent(self) -> None:
        """Forward nothing any more, and say nothing: what is sent waits."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def cut(self) -> None:
        """Break all connections at once; new ones are taken, and flow."""
        self._run(self._break())

    def close(self) -> None:
        """Stop."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        self._flowing.set()
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _break(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._flowing.set()

    async def _end(self) -> None:
        self._server.close()
        await self._break()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._target.path is not None:
                there, back = await asyncio.open_unix_connection(self._target.path)
            else:
                there, back = await asyncio.open_connection("127.0.0.1", self._target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            # Cancelled at the end of all only: asyncio's streams make a loud error of it.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._forward(reader, back), self._forward(there, writer))
        finally:
            self._writers -= {writer, back}

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
        # An end on one side is told to the other one.
        writer.close()


@contextmanager
def open_proxy(target: Target) -> Iterator[Proxy]:
    """Run a proxy in a thread."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
