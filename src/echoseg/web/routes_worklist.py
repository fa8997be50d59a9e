"""Routes of the worklist: clips in, pages of rows, one clip, its frames.

GET  /api/clips                     rows by filters, `WorklistQuery`
POST /api/clips                     dropped files, multipart/form-data
POST /api/folders                   a file or folder of this machine; admin
GET  /api/clips/ID                  `ClipDetail`
POST /api/clips/ID/retry            queue a failed clip again
GET  /api/clips/ID/frames/N.jpg     a frame
GET  /api/clips/ID/curves           `Preview` of a clip that is being analyzed, from a frame on
GET  /api/clips/ID/cine.bin         all frames, by ranges; `ClipDetail.offsets` says where
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, Response

from echoseg.clip import ClipWarning
from echoseg.errors import ConfigError
from echoseg.report.html import plain_words
from echoseg.web.accounts import Reader
from echoseg.web.analysis import read_result
from echoseg.web.api import (
    AddedClips,
    ClipDetail,
    FolderRequest,
    Preview,
    WorklistPage,
    WorklistQuery,
    WorklistRow,
)
from echoseg.web.cine import FRAMES, Cine, read_cine, read_jpeg
from echoseg.web.curves import Curves
from echoseg.web.drops import Drop, receive
from echoseg.web.records import ClipRow
from echoseg.web.refusal import Refusal
from echoseg.web.routes_export import BYTES, sends
from echoseg.web.security import current_admin, current_reader

if TYPE_CHECKING:
    from echoseg.web.app import Page

_IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
_OF_CINE = ("rows", "columns", "num_frames", "times_s", "frame_rate_hz", "spacing_mm", "view")
_OF_CINE += ("r_wave_times_s", "offsets")
_UPLOAD = {"properties": {"files": {"type": "array", "items": BYTES["schema"]}}}
_FILES = {"content": {"multipart/form-data": {"schema": _UPLOAD | {"type": "object"}}}}
_Reader = Annotated[Reader, Depends(current_reader)]
_Admin = Annotated[Reader, Depends(current_admin)]


def worklist_router(page: "Page") -> APIRouter:
    """Routes of the worklist."""
    router, worklist = APIRouter(prefix="/api"), page.worklist

    @router.get("/clips")
    def rows(query: Annotated[WorklistQuery, Query()], reader: _Reader) -> WorklistPage:
        return worklist.page(query, reader.name)

    @router.post("/clips", openapi_extra={"requestBody": _FILES})
    async def drop(request: Request, reader: _Reader) -> AddedClips:
        return await _drop(page, request, reader)

    @router.post("/folders")
    def folder(request: FolderRequest, reader: _Admin) -> AddedClips:
        path = page.settings.place(request.path)
        try:
            return worklist.add([path], reader.name).message()
        except ConfigError as error:
            raise Refusal(400, f"{request.path} does not exist on the server.") from error

    router.include_router(_clip_router(page))
    return router


def _clip_router(page: "Page") -> APIRouter:
    """Routes of one clip."""
    router, worklist = APIRouter(), page.worklist

    @router.get("/clips/{clip}")
    def detail(clip: str, reader: _Reader) -> ClipDetail:
        return _detail(page, worklist.row(clip), reader)

    @router.post("/clips/{clip}/retry")
    def retry(clip: str, reader: _Reader) -> WorklistRow:
        return worklist.messages([worklist.retry(clip)], reader.name)[0]

    @router.get("/clips/{clip}/frames/{frame}.jpg", **sends("image/jpeg"))
    def frame(clip: str, frame: int) -> Response:
        row, cine = _opened(page, clip)
        if not 0 <= frame < cine.num_frames:
            raise Refusal(404, f"The clip has frames 0 to {cine.num_frames - 1}.")
        jpeg = read_jpeg(worklist.folder / row.id, cine, frame)
        return Response(jpeg, media_type="image/jpeg", headers=_IMMUTABLE)

    @router.get("/clips/{clip}/curves")
    def curves(clip: str, first: Annotated[int, Query(ge=0)] = 0) -> Preview:
        return Preview(contours=Curves.read(worklist.clip_folder(clip), first).frames)

    @router.get("/clips/{clip}/cine.bin", **sends("application/octet-stream"))
    def cine(clip: str) -> Response:
        row, _ = _opened(page, clip)
        path = worklist.folder / row.id / FRAMES
        return FileResponse(path, media_type="application/octet-stream", headers=_IMMUTABLE)

    return router


async def _drop(page: "Page", request: Request, reader: Reader) -> AddedClips:
    """Receive dropped files, and put their clips into the worklist."""
    drop = Drop(page.worklist)
    try:
        await receive(drop, request.headers.get("content-type", ""), request.stream())
        return await asyncio.to_thread(drop.add, reader.name)
    except BaseException:
        await asyncio.to_thread(drop.discard)
        raise


def _opened(page: "Page", clip: str) -> tuple[ClipRow, Cine]:
    """Row and cine of a clip.

    Raises:
        Refusal: With 404, if there is no such clip; with 409, if it is not opened yet, or cannot
            be.
    """
    row = page.worklist.row(clip)
    cine = read_cine(page.worklist.folder / row.id)
    if cine is None:
        why = f"it cannot be read: {row.reason}" if row.state == "failed" else "it waits its turn"
        raise Refusal(409, f"The clip is not opened; {why}.")
    return row, cine


def _sentences(warnings: Iterable[ClipWarning]) -> tuple[str, ...]:
    """Warnings without the options of the command line; one of nothing else is left out."""
    return tuple(filter(None, (plain_words(one.message) for one in warnings)))


def _detail(page: "Page", row: ClipRow, reader: Reader) -> ClipDetail:
    folder = page.worklist.folder / row.id
    cine, report = read_cine(folder), read_result(folder)
    own: dict[str, Any] = {}
    if cine is not None:
        own = {name: getattr(cine, name) for name in _OF_CINE}
        own["warnings"] = _sentences(cine.warnings)
    if report is not None:
        own["warnings"] = _sentences(report.warnings)
    message, *study = page.worklist.messages([row, *page.worklist.study(row.study)], reader.name)
    return ClipDetail(
        row=message,
        slot=page.readings.slot(row.id, reader),
        predicted_view=report.predicted_view.view if report and report.predicted_view else "",
        model=report.model.name if report and report.model else "",
        study=tuple(study),
        **own,
    )
