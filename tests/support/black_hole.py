"""A way to a server that can become a black hole: connections stay open, and nothing comes back any more."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress


class BlackHole:
    """Listens on a port of the loopback interface and passes everything on, until it is told to swallow it.

    Args:
        target: the server's address, as `socket.connect` takes it; text for a Unix socket.
    """

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._is_dark = threading.Event()
        self._closing = ExitStack()
        self._listener = self._closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """Let nothing through from now on; new connections are still accepted."""
        self._is_dark.set()

    def close(self) -> None:
        """End all connections."""
        self._closing.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._closing.enter_context(client)
                if not self._is_dark.is_set():
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        server = self._closing.enter_context(socket.socket(family))
        server.connect(self._target)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not self._is_dark.is_set():
                    target.sendall(data)
