"""HTTP services of a node: STOW-RS (PS3.18 10.5), `/metrics`, `/health` and `/ready`.

    POST /studies, /studies/UID   store instances, multipart/related; type="application/dicom"
    GET /metrics                  numbers for Prometheus
    GET /health                   200 while the process answers
    GET /ready                    200 while the node takes and analyzes studies, else 503

The same peers may connect as by DICOM, by their addresses; with TLS they present a certificate.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from echoseg.errors import ConfigError, EchosegError, FormatError, OutputError, TooLargeError
from echoseg.node import classes
from echoseg.node.incoming import Incoming, Refused, check
from echoseg.node.log import log_event
from echoseg.node.metrics import CONTENT_TYPE, metrics_text
from echoseg.node.parts import PartReader
from echoseg.node.queue import Queue
from echoseg.node.scp import is_allowed
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store

_PIECE_TIMEOUT_S, _START_TIMEOUT_S = 60, 30
_RETRIEVE_URL, _FAILURE = "00081190", "00081197"
_FAILED, _STORED, _OTHER_FAILURES = "00081198", "00081199", "0008119A"
_CLASS, _INSTANCE = "00081150", "00081155"
Checks = Mapping[str, Callable[[], bool]]


def make_app(settings: NodeSettings, store: Store, queue: Queue, checks: Checks) -> Any:
    """The services as a FastAPI application.

    Args:
        settings: Peers and limits.
        store: Where instances go.
        queue: Where numbers come from.
        checks: What must hold for the node to be ready, by name.
    """
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import JSONResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def check_peer(request: Request, go_on: Any) -> Any:
        address = request.client.host if request.client else ""
        # a page in a browser on an allowed machine is not a peer
        if "origin" in request.headers or not _may_connect(settings, address):
            log_event("request refused", address=address)
            return Response("not an allowed peer\n", 403)
        return await go_on(request)

    @app.post("/studies")
    @app.post("/studies/{study_uid}")
    async def store_instances(request: Request, study_uid: str = "") -> Response:
        return await _store_all(settings, store, request, study_uid)

    @app.get("/metrics")
    def metrics() -> Response:
        try:
            return Response(metrics_text(queue.counts()), media_type=CONTENT_TYPE)
        except OutputError:
            return Response("the database cannot be used\n", 503)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    def ready() -> Response:
        results = {name: _holds(one) for name, one in checks.items()}
        return JSONResponse(results, 200 if all(results.values()) else 503)

    return app


async def _store_all(settings: NodeSettings, store: Store, request: Any, study_uid: str) -> Any:
    """Store the instances of a request; each is stored before the next is read."""
    from fastapi.responses import JSONResponse, Response

    answer = _Answer()
    try:
        kind = request.headers.get("content-type", "")
        reader = PartReader(kind, int(settings.max_instance_mb * 1e6))
        async for piece in _pieces(request):
            for part in reader.feed(piece):
                await asyncio.to_thread(_store, store, part, study_uid, answer)
        if not reader.is_complete:
            raise FormatError("the body ends before its last boundary")
    except (FormatError, TooLargeError) as error:
        status = 413 if isinstance(error, TooLargeError) else 400
        log_event("request not read", status=status, reason=str(error))
        if not answer.stored:
            return Response(f"{error}\n", status)
        answer.others.append(classes.UNREADABLE)  # what came before it is stored
    return JSONResponse(answer.content(), answer.status, None, "application/dicom+json")


def _may_connect(settings: NodeSettings, address: str) -> bool:
    """Whether any peer of an address may connect."""
    return any(is_allowed(settings, title, address) for title in ("", *settings.allowed_peers))


async def _pieces(request: Any) -> AsyncIterator[bytes]:
    """The body piece by piece; a peer that stops sending is not waited for.

    Raises:
        FormatError: If the peer hangs up, or sends nothing for a minute.
    """
    from starlette.requests import ClientDisconnect

    stream = request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), _PIECE_TIMEOUT_S)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise FormatError(f"nothing was sent for {_PIECE_TIMEOUT_S} s") from None
        except ClientDisconnect:
            raise FormatError("the sender hung up before the end of the body") from None
        yield piece


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (EchosegError, OSError):
        return False


class _Answer:
    """What became of each instance of a request (PS3.18 I.2)."""

    def __init__(self) -> None:
        self.stored: list[Incoming] = []
        self.failed: list[tuple[Incoming, int]] = []
        self.others: list[int] = []

    @property
    def status(self) -> int:
        """HTTP status, PS3.18 10.5.3.1; 503 where all may be sent again later."""
        reasons = [reason for _, reason in self.failed] + self.others
        if self.stored:
            return 202 if reasons else 200
        is_full = bool(reasons) and set(reasons) == {classes.OUT_OF_RESOURCES}
        return 503 if is_full else 409

    def content(self) -> dict[str, Any]:
        """A data set in the DICOM JSON model (PS3.18 F)."""
        failures = [_item(one) | _reason(reason) for one, reason in self.failed]
        groups = (
            (_FAILED, failures),
            (_STORED, [_item(one) for one in self.stored]),
            (_OTHER_FAILURES, [_reason(reason) for reason in self.others]),
        )
        filled = {tag: {"vr": "SQ", "Value": items} for tag, items in groups if items}
        return {_RETRIEVE_URL: {"vr": "UR"}} | filled


def _item(one: Incoming) -> dict[str, Any]:
    uids = {_CLASS: one.class_uid, _INSTANCE: one.instance_uid}
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}


def _reason(status: int) -> dict[str, Any]:
    return {_FAILURE: {"vr": "US", "Value": [status]}}


def _store(store: Store, part: bytearray, study_uid: str, answer: _Answer) -> None:
    incoming = None
    try:
        incoming = Incoming.from_file(memoryview(part), sender="web")
        if study_uid and check(incoming) != study_uid:
            raise Refused(classes.MISMATCH)
        store.receive(incoming)
        answer.stored.append(incoming)
    except Refused as refusal:
        log_event("instance refused", status=f"{refusal.status:04X}", reason=str(refusal))
        if incoming is None:
            answer.others.append(refusal.status)
        else:
            answer.failed.append((incoming, refusal.status))


class Web:
    """The HTTP services of a node on a port, in a thread of its own.

    Args:
        settings: `web_host`, `web_port`, peers, limits and TLS.
        store: Where instances go.
        queue: Where numbers come from.
        checks: As `make_app`.
    """

    def __init__(self, settings: NodeSettings, store: Store, queue: Queue, checks: Checks) -> None:
        import uvicorn

        tls = settings.tls
        self._config = uvicorn.Config(
            make_app(settings, store, queue, checks),
            host=settings.web_host,
            port=settings.web_port or 0,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # any process of this machine could name an allowed peer
            limit_concurrency=2 * settings.max_associations,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
            ssl_certfile=tls and tls.cert,
            ssl_keyfile=tls and tls.key,
            ssl_ca_certs=tls and str(tls.ca),
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls else ssl.CERT_NONE,
        )
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._done = threading.Event()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: If the address is in use or not of this machine, or TLS cannot be set up.
        """
        self._thread.start()
        for _ in range(_START_TIMEOUT_S * 100):
            if self._server.started or self._done.wait(0.01):
                break
        if not self._server.started:
            host, port = self._config.host, self._config.port
            raise ConfigError(
                f"the node cannot listen on {host}, port {port}; choose another port "
                "(web_port), stop what uses it, or correct tls"
            )
        log_event("listening for HTTP", host=self._config.host, port=self.port)

    def _run(self) -> None:
        try:
            self._server.run()
        except (SystemExit, OSError, ValueError):  # uvicorn exits where it cannot listen
            log_event("HTTP not started", host=self._config.host, port=self._config.port)
        finally:
            self._done.set()

    def stop(self) -> None:
        """Stop; requests that run may end first."""
        self._server.should_exit = True
        self._thread.join(15)
