"""Settings of the page's server."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, field_validator, model_validator

from echoseg.web.refusal import Refusal
from echoseg.weights.card import DEFAULT_MODEL

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LiveSource(BaseModel):
    """A camera or stream that readers may play live; they see its name, not its address.

    Attributes:
        name: Up to 40 letters, digits, spaces, `.`, `-` or `_`.
        address: As of `echoseg live`: a camera's number, or the address of a stream, which may hold
            a password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[\w.-][\w .-]{0,39}$")
    address: str = Field(pattern=r"^[^-\s]\S*$", max_length=4096, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name, equals, address = value.partition("=")
        if not equals:
            raise ValueError("must be NAME=ADDRESS, such as lab=rtsp://camera/1")
        return {"name": name.strip(), "address": address.strip()}


class PageSettings(BaseModel):
    """How the page is served.

    Attributes:
        folder: Where everything is kept: database, dropped clips, results, audit log.
        host: Address to listen on; on any but the machine's own, readers must sign in.
        port: Port; 0: any free one.
        database_url: SQLAlchemy URL of the database; by default an SQLite file in `folder`.
        model: Name or path of a checkpoint.
        backend: As of `echoseg analyze`, for analyses and live runs.
        clip_folders: Where clips may be added from by their paths; on the machine's own address,
            anywhere.
        server_names: Names under which browsers may ask for the page, besides its addresses.
        proxy: Address of a proxy in front; its `X-Forwarded-For` and `-Proto` count.
        tls_certificate: PEM file of the certificate, and those up to the authority.
        tls_key: PEM file of its private key, without a password.
        show_names: Show names of files; otherwise keyed hashes.
        sign_in: Readers sign in on the machine's own address too.
        double_read: Two readers read each clip, each blinded to the other; readers sign in.
        node: TOML file of a node's settings, whose received clips are in the worklist too.
        live_sources: Cameras and streams that readers may play live, by name.
        live_limit_min: Minutes after which a live run ends.
        max_upload_bytes: Largest file that may be dropped.
        jobs: Worker processes that analyze clips.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Path("echoseg-page")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    database_url: str = Field(default="", repr=False)
    model: str = DEFAULT_MODEL
    backend: str = "torch"
    clip_folders: tuple[Path, ...] = ()
    server_names: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")], ...] = ()
    proxy: IPvAnyAddress | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    show_names: bool = False
    sign_in: bool = False
    double_read: bool = False
    node: Path | None = None
    live_sources: tuple[LiveSource, ...] = ()
    live_limit_min: float = Field(default=30.0, gt=0, le=24 * 60)
    max_upload_bytes: int = Field(default=2 * 2**30, gt=0)
    jobs: int = Field(default=1, ge=1)

    @field_validator("live_sources")
    @classmethod
    def _check_names(cls, value: tuple[LiveSource, ...]) -> tuple[LiveSource, ...]:
        if len({one.name for one in value}) < len(value):
            raise ValueError("must have different names")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> "PageSettings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(
                "tls_certificate and tls_key belong together; give both, or none of them"
            )
        return self

    @property
    def url(self) -> str:
        """URL of the database, with its driver."""
        if not self.database_url:
            return f"sqlite:///{self.folder.absolute() / 'page.sqlite'}"
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", self.database_url)

    @property
    def is_here(self) -> bool:
        """Whether only browsers of this machine reach the page."""
        return self.host in LOOPBACK and self.proxy is None

    @property
    def needs_sign_in(self) -> bool:
        """Whether readers must sign in."""
        return self.sign_in or self.double_read or not self.is_here

    def place(self, text: str) -> Path:
        """A path of this machine that an admin names.

        Raises:
            Refusal: With 400, if it cannot be one; with 403, if it is outside of `clip_folders`.
        """
        try:
            path = Path(text).expanduser()
            if not path.is_absolute():
                raise Refusal(400, "The path must be an absolute one of the server's machine.")
            if not self.may_add(path):
                raise Refusal(
                    403, "Only what the server names by --clip-folder may be used from elsewhere."
                )
            path.exists()
        except (RuntimeError, OSError, ValueError) as error:  # no such user, too long, a zero byte
            raise Refusal(400, "The path cannot be one of the server's machine.") from error
        return path

    def may_add(self, path: Path) -> bool:
        """Whether an admin may add the file or folder of a path, links resolved."""
        place = path.resolve()
        return self.is_here or any(
            place.is_relative_to(folder.resolve()) for folder in self.clip_folders
        )
