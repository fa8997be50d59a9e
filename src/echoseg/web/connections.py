"""Connections: who opened one on this machine, and how long it may wait for a request."""

import ipaddress
import os
import socket
import sys
from asyncio import BaseTransport, TimerHandle
from functools import cache
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from echoseg.web.listener import Listener, descriptor

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_REQUEST_TIMEOUT_S = 30.0
Place = tuple[str, int]


def is_stranger(client: Place | None, server: Place | None) -> bool:
    """Whether another account of this machine holds the client's end of a connection.

    Linux says whose it is (proc(5), `/proc/net/tcp`); root is never a stranger. Elsewhere, and for
    connections from other machines, the answer is no.

    Args:
        client: Address and port of the client.
        server: Address and port of this server.
    """
    if client is None or server is None or not sys.platform.startswith("linux"):
        return False
    owner = _owner(client, server)
    return owner is not None and owner not in (0, os.getuid())


def _owner(client: Place, server: Place) -> int | None:
    """User id of the socket that is bound to `client` and connected to `server`; None: unknown."""
    try:
        table = _TABLES[ipaddress.ip_address(client[0]).version]
        ends = [_hexadecimal(client), _hexadecimal(server)]
        with table.open("rb") as file:
            for line in file:
                fields = line.split(maxsplit=8)
                if fields[1:3] == ends:
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


@cache
def _packed(host: str) -> str:
    address = ipaddress.ip_address(host).packed
    words = (address[i : i + 4] for i in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _hexadecimal(place: Place) -> bytes:
    """An address and port as `/proc/net/tcp` writes them."""
    return f"{_packed(place[0])}:{place[1]:04X}".encode()


class Protocol(H11Protocol):
    """HTTP/1.1 that closes what does not send a whole request head in 30 s.

    uvicorn itself waits without end for the first head, and for the rest of a refused body.

    Args:
        listener: Notes when a connection is served, and when it waits.
        **options: As of uvicorn's own.
    """

    _timer: TimerHandle | None = None
    _is_websocket = False

    def __init__(self, *, listener: Listener | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._listener = listener

    # uvicorn narrows the type of asyncio's protocol
    def connection_made(self, transport: BaseTransport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if one := transport.get_extra_info("socket"):
            # asyncio does it for its own sockets alone; without it an answer waits 40 ms for an ACK
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def handle_events(self) -> None:
        """Handle what was received."""
        super().handle_events()
        self._watch()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection to a WebSocket."""
        self._is_websocket = True
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._cancel()

    def _watch(self) -> None:
        """Wait for a request unless one is being served."""
        is_served = self.cycle is not None and not self.cycle.response_complete
        if is_served or self._is_websocket:
            self._cancel()
            if self._listener is not None:
                self._listener.work(descriptor(self.transport))
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(_REQUEST_TIMEOUT_S, self.transport.close)
            if self._listener is not None:
                self._listener.wait(descriptor(self.transport))

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
