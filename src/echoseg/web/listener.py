"""The listening socket: bounds what is open, TLS handshakes and silent connections too."""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable
from typing import Any, cast

from echoseg.web.limits import RateLimit
from echoseg.web.refusal import Refusal

MAX_CONNECTIONS, MAX_PER_CLIENT = 500, 64
CONNECTIONS_PER_S, MAX_CONNECTION_BURST = 50.0, 500.0
_HANDSHAKE_TIMEOUT_S = 10.0


def client_network(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else address


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop: accepts by `Listener.accept`, and ends a TLS handshake after 10 s."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        """Serve, as asyncio's own."""
        if options.get("ssl"):
            options["ssl_handshake_timeout"] = _HANDSHAKE_TIMEOUT_S
        return await super().create_server(*args, **options)


class Listener(socket.socket):
    """A listening socket that bounds its connections, from all clients and from each.

    Where there are too many, the one that has waited longest for its client, be it for a TLS
    handshake or for a request, is ended for the new one; where all are being served, the new one
    is. This machine and the proxy stand for many clients: only the bound of all is theirs.

    Args:
        listening: The socket, which this one replaces.
        proxy: Address of a proxy in front; empty without one.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        listening: socket.socket,
        proxy: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        kind = listening.family, listening.type, listening.proto
        super().__init__(*kind, fileno=listening.detach())
        self._proxy = client_network(proxy)
        self._rate = RateLimit(CONNECTIONS_PER_S, MAX_CONNECTION_BURST, clock)
        self._open: dict[int, tuple[socket.socket, str]] = {}
        self._waiting: dict[int, None] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            ConnectionAbortedError: If it is one too many; it is closed.
        """
        connection, place = super().accept()
        client = client_network(place[0])
        if client == self._proxy or ipaddress.ip_address(place[0]).is_loopback:
            client = ""
        if not self._has_room(client):
            connection.close()
            raise ConnectionAbortedError
        self._open[connection.fileno()] = connection, client
        self.wait(connection.fileno())
        return connection, place

    def wait(self, number: int) -> None:
        """Note that the connection of a descriptor waits for its client from now on."""
        self._waiting.pop(number, None)
        if number in self._open:
            self._waiting[number] = None

    def work(self, number: int) -> None:
        """Note that the connection of a descriptor is being served."""
        self._waiting.pop(number, None)

    def _has_room(self, client: str) -> bool:
        if client:
            try:
                self._rate.take(client)
            except Refusal:
                return False
        for number, (one, _) in list(self._open.items()):
            if one.fileno() < 0:
                self._forget(number)
        own = [number for number, (_, other) in self._open.items() if other == client]
        if client and len(own) >= MAX_PER_CLIENT:
            return self._end_one(set(own))
        return len(self._open) < MAX_CONNECTIONS or self._end_one(set(self._open))

    def _end_one(self, candidates: set[int]) -> bool:
        """End the connection that has waited longest; False where none waits."""
        number = next((one for one in self._waiting if one in candidates), None)
        if number is None:
            return False
        with contextlib.suppress(OSError):  # asyncio closes it when it reads the end
            self._open[number][0].shutdown(socket.SHUT_RDWR)
        self._forget(number)
        return True

    def _forget(self, number: int) -> None:
        self._open.pop(number)
        self._waiting.pop(number, None)


def descriptor(transport: asyncio.BaseTransport) -> int:
    """Descriptor of a transport's socket; -1 where it has none."""
    one = cast(socket.socket | None, transport.get_extra_info("socket"))
    return -1 if one is None else one.fileno()
