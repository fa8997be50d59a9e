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
from echoseg.web.security import current_admin

if TYPE_CHECKING:
    from echoseg.web.app import Page

_REQUEST_TIMEOUT_S = 30.0


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
                    await _play(socket, task)
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
    if bool(request.clip) == bool(request.source):
        raise Refusal(400, "Choose a clip, or name a source.")
    model = page.settings.model
    if request.clip:
        row = page.worklist.row(request.clip)
        return LiveTask(source=row.source, alias=row.name, model=model)
    reader = current_admin(socket)
    if request.source == "-":
        raise Refusal(400, "Standard input is not a source here; give a camera, stream or file.")
    source, is_here = request.source, page.settings.is_here
    source = f"/dev/video{source}" if source.isdecimal() and len(source) < 4 else source
    if not page.settings.may_add(Path(source)) or not (is_here or Path(source).exists()):
        raise Refusal(403, "From elsewhere, sources are files in what --clip-folder names.")
    page.note("live", reader.name, source=page.worklist.names.name(source))
    return LiveTask(source=source, alias="the source", model=model)


async def _play(socket: WebSocket, task: LiveTask) -> None:
    """Pass the messages of a run on until it ends, or the page closes the connection."""
    run = LiveRun(task)  # not in a thread: what is cancelled then would leave the process
    sending = asyncio.create_task(_send(socket, run))
    leaving = asyncio.create_task(_wait_until_closed(socket))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        # begun and ended even where this is cancelled, as when the server ends
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, run.stop))
        for task_ in (sending, leaving):
            task_.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


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
