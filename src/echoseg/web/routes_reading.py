"""Routes of readings: shown, edited, undone, signed; `slot` 1 is the first read, 2 the second.

GET  /api/clips/ID/reading      `Reading`, with all contours; ?revision=N as it was then
POST /api/clips/ID/edits        `EditRequest`; `Reading` with the contours that changed
POST /api/clips/ID/carry        the same with `Carry`; `Preview`, nothing is stored
POST /api/clips/ID/undo, /redo  `RevisionRequest`
GET  /api/clips/ID/history      `HistoryEntry`s
POST /api/clips/ID/decision     `DecisionRequest`
GET  /api/agreement             `AgreementAnswer` of clips that were read twice
POST /api/training              `TrainingRequest`; admin
"""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query

from echoseg.errors import OutputError
from echoseg.web.accounts import Reader
from echoseg.web.api import (
    DecisionRequest,
    EditRequest,
    HistoryEntry,
    Preview,
    Reading,
    RevisionRequest,
)
from echoseg.web.reading_messages import AgreementAnswer, TrainingAnswer, TrainingRequest
from echoseg.web.refusal import Refusal
from echoseg.web.security import current_admin, current_reader

if TYPE_CHECKING:
    from echoseg.web.app import Page

Slot = Annotated[int, Query(ge=1, le=2)]
Revision = Annotated[int, Query(ge=0)]
Asking = Annotated[Reader, Depends(current_reader)]


def reading_router(page: "Page") -> APIRouter:
    """The routes of readings."""
    router = APIRouter(prefix="/api/clips/{clip}")
    readings = page.readings

    @router.get("/reading")
    def reading(
        clip: str, reader: Asking, slot: Slot = 1, revision: Revision | None = None
    ) -> Reading:
        return readings.reading(clip, slot, reader, revision)

    @router.post("/edits")
    def edit(clip: str, request: EditRequest, reader: Asking, slot: Slot = 1) -> Reading:
        return readings.edit(clip, slot, reader, request)

    @router.post("/carry")
    def carry(clip: str, request: EditRequest, reader: Asking, slot: Slot = 1) -> Preview:
        return Preview(contours=readings.preview(clip, slot, reader, request))

    @router.post("/undo")
    def undo(clip: str, request: RevisionRequest, reader: Asking, slot: Slot = 1) -> Reading:
        return readings.undo(clip, slot, reader, request.revision)

    @router.post("/redo")
    def redo(clip: str, request: RevisionRequest, reader: Asking, slot: Slot = 1) -> Reading:
        return readings.redo(clip, slot, reader, request.revision)

    @router.get("/history")
    def history(clip: str, reader: Asking, slot: Slot = 1) -> tuple[HistoryEntry, ...]:
        return readings.history(clip, slot, reader)

    @router.post("/decision")
    def decide(clip: str, request: DecisionRequest, reader: Asking, slot: Slot = 1) -> Reading:
        return readings.decide(clip, slot, reader, request)

    return router


def readings_router(page: "Page") -> APIRouter:
    """The routes of all readings together."""
    router = APIRouter(prefix="/api")

    @router.get("/agreement")
    def agreement(reader: Asking) -> AgreementAnswer:
        return page.readings.agreement()

    @router.post("/training")
    def training(
        request: TrainingRequest, reader: Annotated[Reader, Depends(current_admin)]
    ) -> TrainingAnswer:
        folder = page.settings.place(request.folder)
        if folder.exists():
            raise Refusal(400, "This folder exists already; give a new one.")
        try:
            return page.readings.write_training_data(folder, reader)
        except OutputError as error:
            raise Refusal(
                400, "The folder cannot be written on the server's machine; give another one."
            ) from error

    return router
