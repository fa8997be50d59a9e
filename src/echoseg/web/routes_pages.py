"""HTML pages, signing in and out. Templates get `csrf_token`, `reader`, `settings`, `version`."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from echoseg.build_info import full_version
from echoseg.web.limits import SignInLimit
from echoseg.web.listener import client_network
from echoseg.web.refusal import Refusal
from echoseg.web.security import check_csrf, cookie

if TYPE_CHECKING:
    from echoseg.web.app import Page

_ENVIRONMENT = Environment(
    loader=PackageLoader("echoseg.web"), autoescape=True, undefined=StrictUndefined
)


def render(page: "Page", request: Request, template: str, **values: Any) -> str:
    """Fill a template of `web/templates`; values are escaped."""
    return _ENVIRONMENT.get_template(template).render(
        csrf_token=page.sessions.csrf_token(request.state.token),
        reader=request.state.reader,
        settings=page.settings,
        version=full_version(),
        **values,
    )


def pages_router(page: "Page") -> APIRouter:
    """Routes of the HTML pages."""
    router = APIRouter(default_response_class=HTMLResponse)

    @router.get("/")
    def worklist(request: Request) -> str:
        return render(page, request, "worklist.html")

    @router.get("/clip/{clip}")
    def reader(request: Request, clip: str) -> str:
        return render(page, request, "reader.html", clip=clip, study="")

    @router.get("/study/{study}")
    def study(request: Request, study: str) -> str:
        return render(page, request, "reader.html", clip="", study=study)

    @router.get("/live")
    def live(request: Request) -> str:
        return render(page, request, "live.html")

    return router


def sign_in_router(page: "Page") -> APIRouter:
    """Routes for signing in and out, by forms."""
    router, limit = APIRouter(default_response_class=HTMLResponse), SignInLimit()

    @router.get("/sign-in")
    def ask(request: Request, next: str = "/") -> Any:
        if request.state.reader:
            return RedirectResponse(_own_path(next), 303)
        return render(page, request, "sign_in.html", next=_own_path(next), error="")

    @router.post("/sign-in")
    def sign_in(
        request: Request,
        name: str = Form(max_length=100),
        password: str = Form(max_length=4096),
        csrf_token: str = Form(""),
        next: str = Form("/"),
    ) -> Any:
        try:
            check_csrf(page, request, csrf_token)
            token = _begin(page, limit, request, name, password)
        except Refusal as refusal:
            html = render(page, request, "sign_in.html", next=_own_path(next), error=refusal.detail)
            return HTMLResponse(html, refusal.status_code, refusal.headers)
        response = RedirectResponse(_own_path(next), 303)
        response.headers["Set-Cookie"] = cookie(request, token)
        return response

    @router.post("/sign-out")
    def sign_out(request: Request, csrf_token: str = Form("")) -> Any:
        check_csrf(page, request, csrf_token)
        page.sessions.end(request.state.token)
        page.note("sign-out", request.state.reader.name)
        # what the browser keeps of clips is not for the next one who sits there
        return RedirectResponse("/sign-in", 303, {"Clear-Site-Data": '"cache"'})

    return router


def _begin(page: "Page", limit: SignInLimit, request: Request, name: str, password: str) -> str:
    """The token of a new session.

    Raises:
        Refusal: If name and password do not fit, or after too many tries.
    """
    address = request.state.address
    limit.begin(name, client_network(address))
    reader, known = page.accounts.verify(name, password), page.accounts.known(name)
    if reader is None:  # what is not a name of ours may be a password
        page.note("sign-in failed", known, address=address)
        raise Refusal(401, "Name and password do not fit.")
    limit.succeed(name, client_network(address))
    page.sessions.end(request.state.token)
    page.note("sign-in", reader.name, address=address)
    return page.sessions.begin(reader)


def _own_path(path: str) -> str:
    """A path of this server to go to, or its first page."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_own and path.isprintable() and "\\" not in path else "/"
