"""Routes of what leaves the page, and of two views together.

GET /api/clips/ID/export      ?format=zip, csv, html, pdf, masks, dicom or fhir; slot=1 or 2
GET /api/export.csv           registry rows of a filter of the worklist
GET /api/studies/STUDY/biplane
GET /api/studies/STUDY/export ?format=zip, csv, html, pdf, dicom or fhir: of both views together
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from echoseg.files import csv_text
from echoseg.report.schema import build_report
from echoseg.report.writer import free_names
from echoseg.web.accounts import Reader
from echoseg.web.api import WorklistQuery
from echoseg.web.export import (
    ExportFormat,
    HeartFormat,
    biplane_of,
    lacking,
    planes_of,
    reading_row,
    registry,
)
from echoseg.web.reading_messages import Biplane
from echoseg.web.records import ClipRow
from echoseg.web.refusal import Refusal
from echoseg.web.routes_reading import Slot
from echoseg.web.security import current_reader

if TYPE_CHECKING:
    from echoseg.web.app import Page

_Reader = Annotated[Reader, Depends(current_reader)]
_CSV = "text/csv; charset=utf-8"
BYTES = {"schema": {"type": "string", "format": "binary"}}


def sends(*media_types: str) -> dict[str, Any]:
    """What a route that answers with a file says of itself in the OpenAPI description."""
    content = {kind: BYTES for kind in media_types}
    return {"response_class": Response, "responses": {200: {"content": content}}}


def export_router(page: "Page") -> APIRouter:
    """Routes of exports."""
    router = APIRouter(prefix="/api")

    @router.get("/clips/{clip}/export", **sends("*/*"))
    def export(
        clip: str, reader: _Reader, format: ExportFormat = "zip", slot: Slot = 1
    ) -> Response:
        row = page.worklist.row(clip)
        if format == "csv":
            analysis = page.readings.analysis(clip, slot, reader, is_whole=False)
            fields = reading_row(row, build_report(analysis))
            page.note("export", reader.name, clip_sha256=row.sha256, format=format, slot=slot)
            name = free_names([row.name])[0]
            return _table(csv_text(list(fields), [fields.values()]), f"{name}.csv")
        return _file(page, [(row, slot)], reader, format)

    @router.get("/export.csv", **sends(_CSV))
    def table(query: Annotated[WorklistQuery, Query()], reader: _Reader) -> Response:
        page.note("export", reader.name, format="registry")
        headers = {"Content-Disposition": 'attachment; filename="registry.csv"'}
        return StreamingResponse(registry(page, query, reader), media_type=_CSV, headers=headers)

    @router.get("/studies/{study}/biplane")
    def biplane(study: str, reader: _Reader) -> Biplane:
        return biplane_of(page, study, reader)

    @router.get("/studies/{study}/export", **sends("*/*"))
    def export_biplane(study: str, reader: _Reader, format: HeartFormat = "zip") -> Response:
        planes = planes_of(page, study)
        if why := lacking(planes):
            raise Refusal(409, f"{why} Add it, or export the clip alone.")
        reads = [(row, page.readings.slot(row.id, reader)) for row in planes.values()]
        return _file(page, reads, reader, format)

    return router


def _file(
    page: "Page", reads: Sequence[tuple[ClipRow, int]], reader: Reader, kind: ExportFormat
) -> Response:
    path, name = page.exporter.write(reads, reader, kind)
    return FileResponse(path, filename=name, background=BackgroundTask(page.exporter.discard, path))


def _table(text: str, name: str) -> Response:
    plain = f'filename="{name}"' if quote(name) == name else f"filename*=UTF-8''{quote(name)}"
    headers = {"Content-Disposition": f"attachment; {plain}"}
    return Response(text, media_type=_CSV, headers=headers)
