"""Serve the page until SIGTERM or Ctrl-C."""

import contextlib
import logging
import os
import signal
import socket
import ssl
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from echoseg.errors import ConfigError, EchosegError
from echoseg.files import locked_dir
from echoseg.web.accounts import open_accounts
from echoseg.web.app import Page, create_app
from echoseg.web.connections import Protocol
from echoseg.web.listener import Listener
from echoseg.web.security import local_reader
from echoseg.web.settings import PageSettings

_BACKLOG = 128
_KEEP_ALIVE_S, _END_S = 30, 5
_MAX_MESSAGE_BYTES = 2**16


def serve_page(
    settings: PageSettings,
    clips: Sequence[Path] = (),
    on_start: Callable[[str], None] = print,
    *,
    open_browser: bool = False,
) -> None:
    """Serve the page until SIGTERM or Ctrl-C; call it in the main thread.

    Args:
        settings: Its settings.
        clips: Files and folders to be put into the worklist.
        on_start: Called with the address of the page as soon as it answers.
        open_browser: Open that address in the browser.

    Raises:
        ConfigError: If a clip is missing, the port, database or certificate cannot be used, or
            readers must sign in and there is no account.
        OutputError: If the folder is in use by another server, or cannot be written.
    """
    with contextlib.ExitStack() as end, locked_dir(settings.folder):
        listener = end.enter_context(_listen(settings))
        _check_accounts(settings)
        if missing := [str(path) for path in clips if not path.exists()]:
            raise ConfigError(f"{missing[0]} does not exist; give clips, or folders of clips")
        app = create_app(settings)

        def start(address: str) -> None:
            on_start(address)
            if clips:
                add = threading.Thread(target=_add, args=(app.state.page, clips), daemon=True)
                add.start()
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        _Server(_config(settings, app, listener), _address(settings, listener), start).run(
            [listener]
        )


def _add(page: Page, clips: Sequence[Path]) -> None:
    """Put clips into the worklist; what is refused is said in the log."""
    logger = logging.getLogger("echoseg.page")
    try:
        addition = page.worklist.add(clips, local_reader().name)
    except EchosegError as error:
        logger.error("clips not added: %s", error)
    else:
        for name, reason in addition.refused.items():
            logger.warning("not a clip: %s: %s", name, reason)


class _Server(uvicorn.Server):
    """A server that says when it answers, and ends on a signal without raising it again."""

    def __init__(self, config: Any, address: str, on_start: Callable[[str], None]) -> None:
        super().__init__(config)
        self._address, self._on_start = address, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start(self._address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self.handle_exit) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _config(settings: PageSettings, app: Any, listener: Listener) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        # one per connection; a class to uvicorn
        http=partial(Protocol, listener=listener),  # type: ignore[arg-type]  # uvicorn calls it
        loop="echoseg.web.listener:Loop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=str(settings.proxy or ""),
        ws_max_size=_MAX_MESSAGE_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_END_S,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if settings.tls_certificate is None:
            raise
        raise ConfigError(
            "tls_certificate and tls_key must be PEM files that fit together, the key without a "
            "password; correct --tls-certificate and --tls-key"
        ) from error
    if isinstance(config.ssl, ssl.SSLContext):
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _check_accounts(settings: PageSettings) -> None:
    if not settings.needs_sign_in:
        return
    database, _, accounts = open_accounts(settings)
    with contextlib.closing(database):
        if not accounts.all():
            raise ConfigError(
                f"readers must sign in and {settings.folder} has no account; add one by "
                f"`echoseg serve account add NAME --role admin --data {settings.folder}`"
            )


def _listen(settings: PageSettings) -> Listener:
    host, port = settings.host, settings.port
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        plain = socket.create_server(place, family=family, backlog=_BACKLOG)
        return Listener(plain, str(settings.proxy or ""))
    except (OSError, UnicodeError) as error:
        is_name = isinstance(error, UnicodeError | socket.gaierror)
        reason = "this is not an address" if is_name else os.strerror(error.errno or 0)
        raise ConfigError(
            f"the page cannot listen on {host}, port {port} "
            f"({reason}); choose another by --host "
            "and --port (0: any free port), or stop what uses it"
        ) from error


def _address(settings: PageSettings, listener: socket.socket) -> str:
    """The address to open; of a server on all addresses, the one for this machine."""
    host, port = listener.getsockname()[:2]
    host = settings.host if settings.host in ("localhost", *settings.server_names) else host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls_certificate else 'http'}://{name}:{port}/"
