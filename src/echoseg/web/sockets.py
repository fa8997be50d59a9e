"""WebSockets end when their reader is signed out, by whomever, or is another than before."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

CHECK_INTERVAL_S = 1.0
SIGNED_OUT = 4401
"""Code of the close; WebSockets have 4000 to 4999 for applications (RFC 6455, 7.4.2)."""


async def serve_while(
    may_stay: Callable[[], Awaitable[bool]], app: Any, scope: Any, receive: Any, send: Any
) -> None:
    """Serve a WebSocket, and close it as soon as `may_stay`, asked every second, is False.

    Args:
        may_stay: Whether its reader is still signed in; an exception counts as no.
        app: The ASGI application.
        scope: Of the connection, as the next two.
        receive: Its channel from the client.
        send: Its channel to the client.
    """
    ended = asyncio.create_task(_wait_for_end(may_stay, send))

    async def receive_or_end() -> Any:
        receiving = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((receiving, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return {"type": "websocket.disconnect", "code": SIGNED_OUT}
            return receiving.result()
        finally:
            receiving.cancel()

    async def send_unless_ended(message: Any) -> None:
        if ended.done():
            raise OSError("the reader is signed out")  # ASGI: the client is gone
        await send(message)

    try:
        await app(scope, receive_or_end, send_unless_ended)
    finally:
        ended.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ended


async def _wait_for_end(may_stay: Callable[[], Awaitable[bool]], send: Any) -> None:
    stays = True
    while stays:
        await asyncio.sleep(CHECK_INTERVAL_S)
        try:
            stays = await may_stay()
        except Exception:  # what cannot be checked is not allowed
            stays = False
    with contextlib.suppress(Exception):  # it is closed, or was never accepted
        await send({"type": "websocket.close", "code": SIGNED_OUT})
