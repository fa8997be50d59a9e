"""The page as a FastAPI application, and what its routes share."""

import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from echoseg.audit import AuditLog, Event
from echoseg.database import Database
from echoseg.errors import EchosegError
from echoseg.node.settings import read_settings
from echoseg.web.accounts import Accounts, open_accounts
from echoseg.web.clip_queue import ClipQueue
from echoseg.web.drops import sweep_drops
from echoseg.web.export import Exporter
from echoseg.web.node_clips import NodeClips
from echoseg.web.reading.readings import Readings
from echoseg.web.refusal import status_of, without_paths
from echoseg.web.routes_export import export_router
from echoseg.web.routes_live import live_router
from echoseg.web.routes_pages import pages_router, sign_in_router
from echoseg.web.routes_reading import reading_router, readings_router
from echoseg.web.routes_worklist import worklist_router
from echoseg.web.security import Guard, local_reader
from echoseg.web.sessions import Sessions
from echoseg.web.settings import PageSettings
from echoseg.web.worklist import Worklist

_STATIC = Path(__file__).with_name("static")


@dataclass
class Page:
    """What the routes share: `app.state.page`.

    Attributes:
        settings: Settings of the server.
        database: Everything that is kept.
        audit: Log of sign-ins and of all that readers change.
        accounts: Who may sign in.
        sessions: Who is signed in.
        worklist: Clips.
        queue: Their analysis.
        node_clips: Clips of a node, where there is one.
        readings: Their readings.
        exporter: What leaves the page.
    """

    settings: PageSettings
    database: Database
    audit: AuditLog
    accounts: Accounts
    sessions: Sessions
    worklist: Worklist
    queue: ClipQueue
    node_clips: NodeClips | None = None
    readings: Readings = field(init=False)
    exporter: Exporter = field(init=False)

    def __post_init__(self) -> None:
        """Open what uses all the others."""
        self.readings, self.exporter = Readings(self), Exporter(self)

    @classmethod
    def open(cls, settings: PageSettings) -> "Page":
        """The page of a folder, which is made if missing, for its owner alone.

        Raises:
            ConfigError: If a database cannot be opened, or the settings of the node not be read.
            ModelError: If there is no such model.
            OutputError: If the folder cannot be written.
        """
        database, audit, accounts = open_accounts(settings)
        sessions = Sessions(database, settings.folder)
        worklist = Worklist(settings, database, audit)
        sweep_drops(worklist)
        queue = ClipQueue(worklist)
        clips = None
        if settings.node is not None:
            clips = NodeClips(read_settings(settings.node), worklist, local_reader().name)
        return cls(settings, database, audit, accounts, sessions, worklist, queue, clips)

    def note(self, event: str, account: str, *, clip_sha256: str = "", **options: Any) -> str:
        """Append what an account did to the audit log, safe on disk when this returns.

        Call it inside of the transaction that makes the change, as its last step: no change is then
        without its record.

        Args:
            event: What happened, such as `edit`.
            account: Name of the account.
            clip_sha256: Hash of the clip, where there is one.
            **options: What else is to be known; nothing that names a patient.

        Raises:
            OutputError: If it cannot be written.
        """
        return self.audit.append(
            Event(event=event, input_sha256=clip_sha256, options={"account": account, **options})
        )

    def close(self) -> None:
        """End the analyses, whose clips are queued again, and close the database."""
        if self.node_clips is not None:
            self.node_clips.close()
        self.exporter.close()
        self.queue.close()
        self.worklist.close()
        self.database.close()


def create_app(settings: PageSettings) -> FastAPI:
    """The page as an ASGI application; its `state.page` is the `Page`.

    Raises:
        ConfigError: If the database cannot be opened.
        OutputError: If the folder cannot be written.
    """
    page = Page.open(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        page.queue.start()
        if page.node_clips is not None:
            page.node_clips.start()
        yield
        page.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.page = page
    app.add_middleware(Guard, page=page)
    _answer_errors(app)
    routers = (sign_in_router, pages_router, worklist_router, reading_router, readings_router)
    for router_of in (*routers, export_router, live_router):
        app.include_router(router_of(page))
    mimetypes.add_type("text/javascript", ".js")  # Windows may say otherwise
    app.mount("/static", _Static(directory=_STATIC), name="static")
    return app


class _Static(StaticFiles):
    """Files of the package, asked for again at each use, and answered by 304 while unchanged."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _answer_errors(app: FastAPI) -> None:
    """Answer errors in plain sentences: {"error": ...}."""

    @app.exception_handler(EchosegError)
    @app.exception_handler(HTTPException)
    def refuse(request: Request, error: Any) -> Response:
        is_ours = isinstance(error, EchosegError)
        status = status_of(error) if is_ours else error.status_code
        text = without_paths(str(error)) if is_ours else _WORDS.get(status, error.detail)
        return JSONResponse({"error": text}, status, getattr(error, "headers", None))

    @app.exception_handler(ClientDisconnect)
    def hung_up(request: Request, error: Any) -> Response:
        return Response(None, 400)  # the connection is closed

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: Any) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        rule = first["msg"].removeprefix("Value error, ")
        return JSONResponse({"error": f"{place or 'The request'}: {rule}."}, 422)


_WORDS = {404: "There is no such page or clip.", 405: "This cannot be done here."}
