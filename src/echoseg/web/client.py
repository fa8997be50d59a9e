"""A client of the page's HTTP interface: the messages of `web.api`, typed and checked.

    with PageClient("http://127.0.0.1:8080") as page:
        (clip,) = page.add("clip.dcm").added
        page.wait(clip)
        page.reading(clip).ef

Its interface is described in docs/openapi.json.
"""

import re
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError

from echoseg.errors import ArgumentError, ConfigError, EchosegError
from echoseg.files import atomic_write
from echoseg.node.settings import is_loopback
from echoseg.web.api import (
    AddedClips,
    ClipDetail,
    DecisionRequest,
    EditRequest,
    HistoryEntry,
    Reading,
    WorklistPage,
    WorklistQuery,
)

_TOKEN = re.compile(r'name="csrf[-_]token"[^>]*?(?:content|value)="([^"]+)"')
_ID = re.compile(r"(study-)?[0-9a-f]{1,64}")
_POLL_S = 0.5
T = TypeVar("T", bound=BaseModel)


class ServerError(EchosegError):
    """The server refused a request, or its answer is not understood.

    Attributes:
        status: HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class PageClient:
    """A session with a page.

    Args:
        url: Address of the page, such as `http://127.0.0.1:8080`.
        account: Name of the account, where the page asks for one.
        password: Its password.
        certificate: Certificate of the authority that signed the server's, PEM; None: the system's.
        timeout_s: Of one request.

    Raises:
        ConfigError: If httpx2 is missing, `url` is wrong, or would get a password unencrypted.
        ServerError: If the page cannot be reached, or does not accept account and password.
    """

    def __init__(
        self,
        url: str,
        *,
        account: str = "",
        password: str = "",
        certificate: str | Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        try:
            import httpx2
        except ImportError:
            raise ConfigError(
                "the client of the page needs httpx2; pip install 'echoseg[client]'"
            ) from None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ConfigError(f"url must begin with http:// or https://, got {url!r}; write it so")
        if password and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ConfigError(f"a password is sent to an https address only, got {url}")
        self._errors = httpx2.HTTPError
        verify: Any = True if certificate is None else str(certificate)
        self._http = httpx2.Client(
            base_url=url, timeout=timeout_s, follow_redirects=True, verify=verify
        )
        self._token = ""
        try:
            if account:
                self._sign_in(account, password)
            self._refresh("/")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def add(self, *files: str | Path) -> AddedClips:
        """Send files into the worklist.

        Raises:
            ArgumentError: If a file cannot be read.
            ServerError: If the server refuses all; single files are in `refused`.
        """
        for file in map(Path, files):
            if not file.is_file():
                raise ArgumentError(f"a file to be added must exist, got {file}")
        with ExitStack() as opened:
            parts = [
                ("files", (Path(file).name, opened.enter_context(Path(file).open("rb"))))
                for file in files
            ]
            return self._read(AddedClips, self._post("/api/clips", files=parts))

    def clips(self, query: WorklistQuery | None = None) -> WorklistPage:
        """Some rows of the worklist."""
        values = (query or WorklistQuery()).model_dump(mode="json", exclude_none=True)
        return self._read(WorklistPage, self._send("GET", "/api/clips", params=values))

    def clip(self, clip: str) -> ClipDetail:
        """A clip: its row, size and times."""
        return self._read(ClipDetail, self._send("GET", _place(clip)))

    def wait(self, clip: str, timeout_s: float = 600.0) -> ClipDetail:
        """Wait until a clip is analyzed.

        Raises:
            ServerError: If its analysis failed, with the reason, or takes longer.
        """
        end_s = time.monotonic() + timeout_s
        while (detail := self.clip(clip)).row.state != "ready":
            if detail.row.state == "failed":
                raise ServerError(f"clip {clip} could not be analyzed: {detail.row.reason}")
            if time.monotonic() > end_s:
                raise ServerError(f"clip {clip} is not analyzed after {timeout_s:g} s")
            time.sleep(_POLL_S)
        return detail

    def reading(self, clip: str, slot: int = 1) -> Reading:
        """A reading: EF, volumes, beats, curve and contours; slot 2 is the blinded second one."""
        return self._read(
            Reading, self._send("GET", f"{_place(clip)}/reading", params={"slot": slot})
        )

    def edit(self, clip: str, request: EditRequest, slot: int = 1) -> Reading:
        """Make an edit; the answer holds the contours of changed frames only."""
        return self._read(Reading, self._post(f"{_place(clip)}/edits", request, slot=slot))

    def decide(self, clip: str, request: DecisionRequest, slot: int = 1) -> Reading:
        """Accept, reject or reopen a reading."""
        return self._read(Reading, self._post(f"{_place(clip)}/decision", request, slot=slot))

    def history(self, clip: str, slot: int = 1) -> tuple[HistoryEntry, ...]:
        """The versions of a reading, with who, when and why."""
        answer = self._send("GET", f"{_place(clip)}/history", params={"slot": slot})
        return _checked(TypeAdapter(tuple[HistoryEntry, ...]).validate_json, answer.content)

    def export(self, clip: str, file: str | Path, format: str = "zip", slot: int = 1) -> Path:
        """Write an export (zip, csv, html, pdf, masks, dicom, fhir) to a file."""
        return self._fetch(f"{_place(clip)}/export", file, {"format": format, "slot": slot})

    def export_biplane(self, study: str, file: str | Path, format: str = "zip") -> Path:
        """Write both views of a study (`row.study`; zip, csv, html, pdf, dicom, fhir) to a file."""
        return self._fetch(f"{_place(study, 'studies')}/export", file, {"format": format})

    def _fetch(self, path: str, file: str | Path, values: dict[str, Any]) -> Path:
        answer = self._send("GET", path, params=values)
        with atomic_write(file) as partial:
            partial.write_bytes(answer.content)
        return Path(file)

    def _post(
        self,
        path: str,
        body: BaseModel | None = None,
        *,
        slot: int | None = None,
        files: Any = None,
    ) -> Any:
        headers = {"X-CSRF-Token": self._token, **self._origin()}
        values: dict[str, Any] = {"headers": headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
            values["content"] = body.model_dump_json()
        if files is not None:
            values["files"] = files
        if slot is not None:
            values["params"] = {"slot": slot}
        return self._send("POST", path, **values)

    def _sign_in(self, account: str, password: str) -> None:
        self._refresh("/sign-in")
        form = {"name": account, "password": password, "csrf_token": self._token}
        self._send("POST", "/sign-in", data=form, headers=self._origin())

    def _origin(self) -> dict[str, str]:
        url = self._http.base_url
        return {"Origin": f"{url.scheme}://{url.netloc.decode()}"}

    def _refresh(self, path: str) -> None:
        """Take the token that requests which change something need."""
        match = _TOKEN.search(self._send("GET", path).text)
        if match is None:
            raise ServerError("the page has no token; is it a page of echoseg?")
        self._token = match[1]

    def _send(self, method: str, path: str, **values: Any) -> Any:
        try:
            answer = self._http.request(method, path, **values)
        except self._errors as error:
            is_silent = type(error).__name__.startswith("Connect")
            why = "no server answers there" if is_silent else "its answer broke off or came late"
            raise ServerError(
                f"the page at {self._http.base_url} cannot be reached ({why}); check its address, "
                "its certificate, and that it runs"
            ) from error
        if answer.status_code >= 400:
            raise ServerError(_reason(answer), answer.status_code)
        if answer.url.path == "/sign-in" and path != "/sign-in":
            raise ServerError("the page asks for an account; give account and password", 401)
        return answer

    def _read(self, kind: type[T], answer: Any) -> T:
        return _checked(kind.model_validate_json, answer.content)


def _place(identity: str, kind: str = "clips") -> str:
    if not _ID.fullmatch(identity):
        raise ServerError(f"{kind} are named by ids of small hexadecimal letters, got {identity!r}")
    return f"/api/{kind}/{identity}"


def _reason(answer: Any) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = re.search(r'role="alert"[^>]*>([^<]+)', answer.text)
        return text[1].strip() if text else f"the page answered {answer.status_code}"


def _checked(parse: Any, content: bytes) -> Any:
    try:
        return parse(content)
    except ValidationError as error:
        raise ServerError("the page's answer is of another version of echoseg") from error
