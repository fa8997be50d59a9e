"""Every request passes here first: whose it is, where it comes from, how large it may be.

Nothing is left to the routes: what is not refused here has a reader, in `request.state.reader`, and
a change carries its CSRF token. Only `/sign-in` and `/static` are open without an account.
"""

import getpass
import ipaddress
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response

from echoseg.errors import EchosegError
from echoseg.web.accounts import Reader
from echoseg.web.connections import is_stranger
from echoseg.web.limits import RateLimit, limited_body
from echoseg.web.listener import client_network
from echoseg.web.records import Role
from echoseg.web.refusal import Refusal, status_of, without_paths
from echoseg.web.sessions import is_token, new_token
from echoseg.web.settings import LOOPBACK, PageSettings
from echoseg.web.sockets import serve_while

if TYPE_CHECKING:
    from echoseg.web.app import Page

LOGGER = logging.getLogger("echoseg.page")
MAX_BODY_BYTES = 2**20
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+?)\.?)(?::\d{1,5})?")
_FORM_PATHS = ("/sign-in", "/sign-out")
"""Forms that send the CSRF token as a field; their routes check it."""
_OPEN_PATHS = ("/sign-in", "/static/", "/health")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_UPLOADS = ("/api/clips",)
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, forms are sent with "Origin: null"
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def current_reader(request: HTTPConnection) -> Reader:
    """FastAPI dependency: who asks, of a request or a WebSocket."""
    return request.state.reader


def current_admin(request: HTTPConnection) -> Reader:
    """FastAPI dependency: who asks, an admin.

    Raises:
        Refusal: With 403, if it is a reader.
    """
    reader = current_reader(request)
    if not reader.is_admin:
        raise Refusal(403, f"Only an admin may do this; {reader.name} is a reader.")
    return reader


def local_reader() -> Reader:
    """The account of the operating system, an admin: who asks where no one signs in."""
    try:
        return Reader(getpass.getuser(), Role.ADMIN)
    except (OSError, KeyError):  # an account without a name, as in some containers
        return Reader("local", Role.ADMIN)


class Guard:
    """ASGI middleware: refuses requests, or passes them on with their reader.

    Args:
        app: What requests are passed to.
        page: The page.
    """

    def __init__(self, app: Any, page: "Page") -> None:
        self._app, self._page = app, page
        self._rate = RateLimit()
        self._local = None if page.settings.needs_sign_in else local_reader()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        one = HTTPConnection(scope)
        answer = _Answer(send, one)
        try:
            await self._admit(one)
            if scope["type"] == "http":
                limit = _max_body_bytes(self._page.settings, one)
                receive = limited_body(receive, one.headers.get("content-length", ""), limit)
            if scope["type"] == "websocket" and self._local is None:
                may_stay = partial(self._is_signed_in, one)
                await serve_while(may_stay, self._app, scope, receive, answer.send)
            else:
                await self._app(scope, receive, answer.send)
        except Exception as error:  # never a traceback to the client
            if answer.is_begun:
                raise
            response = _error_response(one, error)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 4000 + response.status_code})
            else:
                await response(scope, receive, answer.send)

    async def _is_signed_in(self, one: HTTPConnection) -> bool:
        """Whether the reader of a WebSocket is who opened it, in the same role."""
        reader_of = partial(self._page.sessions.reader, is_use=False)
        return await anyio.to_thread.run_sync(reader_of, one.state.token) == one.state.reader

    async def _admit(self, one: HTTPConnection) -> None:
        """Find the reader of a request.

        Raises:
            Refusal: If it must not be served.
        """
        settings, address = self._page.settings, client_address(one)
        check_origin(settings, one)
        self._rate.take(client_network(address))
        token = one.cookies.get(cookie_name(one), "")
        one.state.is_new = not is_token(token)
        one.state.token = new_token() if one.state.is_new else token
        one.state.address, one.state.reader = address, self._local
        if self._local is None and not one.state.is_new:
            sessions = self._page.sessions
            one.state.reader = await anyio.to_thread.run_sync(sessions.reader, token)
        path = one.scope["path"]
        is_open = any(path == p or (p[-1] == "/" and path.startswith(p)) for p in _OPEN_PATHS)
        if one.state.reader is None and not is_open:
            raise Refusal(401, "Sign in first.")
        if _is_change(one) and path not in _FORM_PATHS:
            check_csrf(self._page, one, one.headers.get("x-csrf-token", ""))


def check_csrf(page: "Page", one: HTTPConnection, text: str) -> None:
    """Check that a change was sent by a page of this server.

    Raises:
        Refusal: With 403, if not.
    """
    if one.state.is_new or not page.sessions.is_csrf_token(one.state.token, text):
        raise Refusal(403, "This page is out of date, or sent no X-CSRF-Token; load it again.")


def check_origin(settings: PageSettings, one: HTTPConnection) -> None:
    """Check that a request is for this server, and not sent by a page of another one.

    Raises:
        Refusal: With 403 or 421, if not.
    """
    host = one.headers.get("host", "")
    if len(one.headers.getlist("host")) != 1 or not _is_our_name(settings, host):
        raise Refusal(
            421,
            "The page is not served under this name; open the address that `echoseg serve` "
            "printed, or give the name by --server-name.",
        )
    if not settings.needs_sign_in:
        _check_account(one)
    site = one.headers.get("sec-fetch-site", "none")
    is_visit = one.headers.get("sec-fetch-mode") == "navigate" and not _is_change(one)
    origin = one.headers.get("origin", "" if one.scope["type"] == "http" else "none")
    scheme = {"ws": "http", "wss": "https"}.get(one.url.scheme, one.url.scheme)
    is_ours = origin.lower() in ("", f"{scheme}://{host}".lower())
    if not (is_ours and (site in ("same-origin", "none") or is_visit)):
        raise Refusal(403, "Another page sent this request; use the page itself.")


def _check_account(one: HTTPConnection) -> None:
    """Check that a request comes from the account that runs the server.

    Raises:
        Refusal: With 403, if it comes from another one of this machine, or through a proxy.
    """
    if {"forwarded", "x-forwarded-for"} & set(one.headers.keys()):
        raise Refusal(
            403, "A proxy passed this request on; start the page with --proxy and its address."
        )
    if is_stranger(one.scope.get("client"), one.scope.get("server")):
        raise Refusal(
            403,
            "This page belongs to another account of this machine; start one of your own, or let "
            "its owner start it with --sign-in.",
        )


def client_address(one: HTTPConnection) -> str:
    """The address of a client."""
    return one.client.host if one.client else ""


def cookie_name(one: HTTPConnection) -> str:
    """Name of the cookie: cookies do not tell ports from each other, `__Host-` needs TLS."""
    port = one.headers.get("host", "").rpartition(":")[2]
    name = f"echoseg-{port if port.isdecimal() else ''}"
    return f"__Host-{name}" if one.url.scheme in ("https", "wss") else name


def cookie(one: HTTPConnection, token: str) -> str:
    """The `Set-Cookie` header of a token."""
    secure = "; Secure" if one.url.scheme == "https" else ""
    return f"{cookie_name(one)}={token}; HttpOnly; Path=/; SameSite=Strict{secure}"


class _Answer:
    """What is sent back: with the headers of all answers, and the cookie of a new browser."""

    def __init__(self, send: Any, one: HTTPConnection) -> None:
        self._send, self._one = send, one
        self.is_begun = False

    async def send(self, message: Any) -> None:
        """Send a part."""
        self.is_begun = True
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if getattr(self._one.state, "is_new", False) and _is_page(headers):
                token = self._one.state.token
                headers.append("Set-Cookie", cookie(self._one, token))
        await self._send(message)


def _error_response(one: HTTPConnection, error: Exception) -> Response:
    path = one.scope["path"]
    if isinstance(error, EchosegError):
        status, text = status_of(error), without_paths(str(error))
        headers = getattr(error, "headers", None)
    else:
        status, headers = 500, None
        text = "The server failed at this; its log says where. Try again, or restart it."
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        LOGGER.error("%s at %s (%s)", type(error).__name__, where, path)
    is_visit = one.scope["type"] == "http" and not path.startswith(("/api/", "/static/"))
    if status == 401 and is_visit and not _is_change(one):
        return RedirectResponse(f"/sign-in?next={quote(path)}", 303)
    return JSONResponse({"error": text}, status, headers)


def _is_change(one: HTTPConnection) -> bool:
    return one.scope["type"] == "http" and one.scope["method"] not in _SAFE_METHODS


def _is_page(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("text/html")


def _max_body_bytes(settings: PageSettings, one: HTTPConnection) -> int:
    return settings.max_upload_bytes if one.scope["path"] in _UPLOADS else MAX_BODY_BYTES


def _is_our_name(settings: PageSettings, host: str) -> bool:
    """Whether a `Host` header names this server; a foreign name may be bound to our address."""
    match = _HOST.fullmatch(host.lower())
    name = (match[1] or match[2]) if match else ""
    if name in (*LOOPBACK, settings.host, *settings.server_names):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return settings.needs_sign_in  # only names can be bound to other addresses
