"""The WebSocket `/api/live`: a clip of the worklist, a camera, stream or file, segmented live."""

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from starlette.websockets import WebSocketState

from echoseg.errors import EchosegError
from echoseg.web.live import MAX_RUNS, LiveRun, LiveTask
from echoseg.web.live_messages import LiveEnd, LiveRequest
from echoseg.web.refusal import Refusal, without_paths
from echoseg.web.security import current_admin, current_reader
from echoseg.web.settings import PageSettings

if TYPE_CHECKING:
    from echoseg.web.app import Page

_REQUEST_TIMEOUT_S, _RECONNECT_S = 30.0, 10.0


def live_router(page: "Page") -> APIRouter:
    """Routes of live runs."""
    router, places = APIRouter(), threading.BoundedSemaphore(MAX_RUNS)

    @router.websocket("/api/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            try:
                text = await asyncio.wait_for(socket.receive_text(), _REQUEST_TIMEOUT_S)
                task = await asyncio.to_thread(_task, page, socket, text)
                if not places.acquire(blocking=False):
                    raise Refusal(503, "Other live runs are on; stop one of them first.")
                try:
                    await _play(socket, task, page.settings.live_limit_min)
                finally:
                    places.release()
            except EchosegError as error:
                await socket.send_text(LiveEnd(ended=without_paths(str(error))).model_dump_json())
            except TimeoutError:
                pass
            if socket.client_state is WebSocketState.CONNECTED:  # the page has not left
                await socket.close()

    return router


def _task(page: "Page", socket: WebSocket, text: str) -> LiveTask:
    """What a request asks for.

    Raises:
        Refusal: If it is not valid, or not allowed.
    """
    try:
        request = LiveRequest.model_validate_json(text)
    except ValidationError as error:
        raise Refusal(400, "The request of a live run is not valid.") from error
    if len(list(filter(None, (request.clip, request.source, request.address)))) != 1:
        raise Refusal(400, "Choose a clip or a source.")
    settings, reader = page.settings, current_reader(socket)
    if request.clip:
        row = page.worklist.row(request.clip)
        address, alias = row.source, row.name
    elif request.source:
        named = {one.name: one.address for one in settings.live_sources}
        if request.source not in named:
            raise Refusal(404, "There is no such source; load the page again.")
        address, alias = named[request.source], request.source
    else:
        current_admin(socket)
        address, alias = _allowed_address(settings, request.address), "the source"
    label = page.worklist.names.name(address) if request.address else alias
    page.note("live", reader.name, source=label)
    address = f"/dev/video{address}" if address.isdecimal() and len(address) < 4 else address
    return LiveTask(
        source=address,
        alias=alias,
        model=settings.model,
        backend=settings.backend,
        reconnect_s=_RECONNECT_S,
    )


def _allowed_address(settings: PageSettings, address: str) -> str:
    """What may be played of an address that an admin gives.

    Raises:
        Refusal: If it may not.
    """
    if address == "-" or not address.isprintable():
        raise Refusal(400, "Standard input is not a source here; give a camera, stream or file.")
    if settings.is_here:
        return address
    path = Path(address).resolve()  # without "//", so never the address of a stream
    if not (settings.may_add(path) and path.exists()):
        raise Refusal(
            403,
            "From elsewhere, an address is a file in what --clip-folder names; cameras and streams "
            "are those that --live-source names.",
        )
    return str(path)


async def _play(socket: WebSocket, task: LiveTask, limit_min: float) -> None:
    """Pass the messages of a run on until it ends, or the page closes the connection.

    Raises:
        Refusal: With 408, at the end of its time.
    """
    run = LiveRun(task)  # not in a thread: what is cancelled then would leave the process
    sending = asyncio.create_task(_send(socket, run))
    leaving = asyncio.create_task(_wait_until_closed(socket))
    try:
        done, _ = await asyncio.wait(
            (sending, leaving), timeout=60 * limit_min, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        # begun and ended even where this is cancelled, as when the server ends
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, run.stop))
        for task_ in (sending, leaving):
            task_.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
    if not done:
        raise Refusal(
            408,
            f"The run ended after {limit_min:g} min, the limit of this server; start it again to "
            "go on.",
        )


async def _send(socket: WebSocket, run: LiveRun) -> None:
    messages = run.messages()
    while (message := await asyncio.to_thread(next, messages, None)) is not None:
        if message.startswith(b"{"):
            await socket.send_text(message.decode())
        else:  # a JPEG begins with 0xFF
            await socket.send_bytes(message)


async def _wait_until_closed(socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()
