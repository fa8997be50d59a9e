"""Settings of a node: a TOML file, and options that override it."""

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from echoseg.errors import ConfigError, validation_message
from echoseg.untrusted import read_bytes, reading

_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
_DIMSE_TARGET = re.compile(r"([^@]+)@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_WAY_OUT = "correct the settings"


def ae_title(text: Any) -> str:
    """An application entity title (PS3.5 6.2, VR AE) without its padding.

    Raises:
        ValueError: If it is not 1 to 16 printable ASCII characters without a backslash.
    """
    title = text.strip(" ") if isinstance(text, str) else ""
    if not _AE_TITLE.fullmatch(title):
        raise ValueError(
            f"an AE title must be 1 to 16 printable ASCII characters without a backslash, "
            f"got {text!r:.40}"
        )
    return title


def _network(text: Any) -> str:
    """An IP address, or a network of them such as 10.0.0.0/8, in its normal form."""
    try:
        return str(ipaddress.ip_network(text))
    except (ValueError, TypeError):
        raise ValueError(
            "the address of a peer must be an IP address or a network such as 10.0.0.0/8, "
            f"got {text!r:.80}"
        ) from None


AETitle = Annotated[str, BeforeValidator(ae_title)]
Network = Annotated[str, BeforeValidator(_network)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Target(BaseModel):
    """Where results are sent: a DICOM peer, `AET@HOST:PORT`, or a DICOMweb service, its base URL.

    Attributes:
        name: The text that it was made from.
        url: Base URL of a DICOMweb service; empty for a peer.
        aet: AE title of a peer; empty for a service.
        host: Host of a peer.
        port: Port of a peer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    url: str = ""
    aet: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_web(self) -> bool:
        """Whether it is a DICOMweb service."""
        return bool(self.url)

    @classmethod
    def parse(cls, text: str) -> "Target":
        """A target from its text.

        Raises:
            ConfigError: If it is neither of the two forms.
        """
        try:
            return _parse_target(text)
        except ValueError as error:
            raise ConfigError(str(error)) from None


def _parse_target(text: Any) -> Target:
    rule = "must be AET@HOST:PORT or an http(s) URL without user and password"
    if not isinstance(text, str):
        raise ValueError(f"a target {rule}, got {text!r:.80}")
    if match := _DIMSE_TARGET.fullmatch(text):
        aet, host, port = match.groups()
        if 1 <= int(port) <= 65535:
            return Target(name=text, aet=ae_title(aet), host=host.strip("[]"), port=int(port))
    elif text.startswith(("http://", "https://")):
        parts = urlsplit(text)  # raises ValueError where brackets do not match
        if parts.hostname and "@" not in parts.netloc:
            return Target(name=text, url=text.rstrip("/"))
        text = f"{parts.scheme}://..."  # may hold a password
    raise ValueError(f"a target {rule}, got {text!r:.80}")


def _target(value: Any) -> Any:
    return _parse_target(value) if isinstance(value, str) else value


class TLS(BaseModel):
    """Files of transport security, PEM.

    Attributes:
        cert: Certificate of this node, and those up to the authority.
        key: Its private key, without a password.
        ca: Authorities whose certificates peers must present; they are always asked for one.
        check_host: Whether the certificate of a peer that is called must name its host or address;
            off where certificates name neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cert: Path
    key: Path
    ca: Path
    check_host: bool = True


class Login(BaseModel):
    """Login to a DICOMweb service; where its secret is, never the secret itself.

    Attributes:
        user: User of a password (Basic); empty where the secret is a token (Bearer).
        env: Environment variable that holds the secret.
        file: File that holds it; it is read anew for each connection.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(default="", pattern=r"^[^:\x00-\x1f\x7f]*$")
    env: str = Field(default="", pattern=r"^\w*$")
    file: Path | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "Login":
        if bool(self.env) == bool(self.file):
            raise ValueError("a login needs either env or file, where its secret is")
        return self


def _service(text: Any) -> str:
    """URL of a service that a login is sent to: encrypted, or on this machine."""
    target = _parse_target(text)
    parts = urlsplit(target.url)
    if not target.is_web or not (parts.scheme == "https" or is_loopback(parts.hostname or "")):
        raise ValueError(
            "a login must be of an https URL, or of one of this machine, since it could be read on "
            f"the way, got {text!r:.80}"
        )
    return target.url


class NodeSettings(BaseModel):
    """Settings of a node.

    Attributes:
        aet: AE title that peers must call.
        host: Address on which peers may connect; 127.0.0.1 admits those of this machine.
        port: Port of DICOM; 0 takes a free one.
        web_host: Address of DICOMweb, `/metrics` and `/health`.
        web_port: Their port; None turns them off.
        folder: Where everything is kept.
        database_url: SQLAlchemy URL of the database; by default an SQLite file in `folder`.
        private_key: Key of the names in logs and folders; by default a file in `folder`.
        allowed_peers: AE titles that may connect, each with its address or network. Without one,
            any title on this machine may.
        any_peer: Let any title and any address connect.
        push: Where results are sent.
        commitment: Ask DICOM targets for storage commitment of what they received.
        quiet_s: Seconds without a new instance after which a study is complete.
        max_instances: Number of instances at which it is complete at once.
        max_instance_mb: Size of the largest instance that is accepted, MB (10^6 bytes); each
            association holds one in memory.
        max_associations: Number of associations at one time.
        quota_gb: Limit of received bytes, GB (10^9 bytes).
        min_free_gb: Space that stays free on the disk, GB.
        retention_days: Age in days after which a study whose results were sent is removed; None
            keeps it.
        max_attempts: Number of tries of an analysis, or of sending a result, before it is failed.
        backoff_s: Seconds before the second try; they double with each.
        tls: Files of transport security; None is DICOM in clear.
        login: Logins to DICOMweb services, by the URL under which they are pushed to or fetched
            from.
        model: Name or path of the checkpoint.
        simplified_sr: Send the SR as Simplified Adult Echo SR (TID 5300), not as Comprehensive SR
            (TID 5200).
        private: Keyed hashes in logs in place of what identifies a patient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    aet: AETitle = "ECHOSEG"
    host: str = "127.0.0.1"
    port: Port = 11112
    web_host: str = "127.0.0.1"
    web_port: Port | None = None
    folder: Path = Path("echoseg-node")
    database_url: str = Field(default="", repr=False)
    private_key: Path | None = None
    allowed_peers: dict[AETitle, Network] = {}
    any_peer: bool = False
    push: tuple[Annotated[Target, BeforeValidator(_target)], ...] = ()
    commitment: bool = False
    quiet_s: float = Field(default=30, ge=0, le=86_400)
    max_instances: int = Field(default=500, ge=1)
    max_instance_mb: float = Field(default=500, gt=0)
    max_associations: int = Field(default=10, ge=1, le=100)
    quota_gb: float = Field(default=50, gt=0)
    min_free_gb: float = Field(default=1, ge=0)
    retention_days: float | None = Field(default=None, ge=0)
    max_attempts: int = Field(default=5, ge=1, le=100)
    backoff_s: float = Field(default=10, ge=0, le=3600)
    tls: TLS | None = None
    login: dict[Annotated[str, BeforeValidator(_service)], Login] = {}
    model: str = "camus"
    simplified_sr: bool = False
    private: Literal[True] = True

    @model_validator(mode="after")
    def _check_peers(self) -> "NodeSettings":
        if self.any_peer and self.allowed_peers:
            raise ValueError("any_peer and allowed_peers contradict each other; give one of them")
        if not (self.any_peer or self.allowed_peers or is_loopback(self.host)):
            raise ValueError(
                f"host {self.host!r} admits other machines and no peer is allowed; name them in "
                "allowed_peers, or give any_peer (--any-peer)"
            )
        return self

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database, with its driver."""
        if not self.database_url:
            return f"sqlite:///{self.database_file}"
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", self.database_url)

    @property
    def database_file(self) -> Path:
        """The SQLite file, where `database_url` names no other database."""
        return self.folder / "node.sqlite"

    @property
    def key_file(self) -> Path:
        """File of the key of names."""
        return self.private_key or self.folder / "private.key"


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def read_settings(path: Path | None = None, **options: Any) -> NodeSettings:
    """Settings of a TOML file, where one is given, overridden by options that are not None.

    Paths in the file that are not absolute start at its folder.

    Raises:
        ConfigError: If the file cannot be read, or a setting is unknown or out of range.
    """
    fields: dict[str, Any] = {}
    if path is not None:
        with reading(path, ConfigError, "must be the settings of a node, TOML", _WAY_OUT):
            fields = tomllib.loads(read_bytes(path).decode("utf-8"))
            fields = _from_folder(fields, path.absolute().parent)
    fields |= {name: value for name, value in options.items() if value is not None}
    try:
        return NodeSettings.model_validate(fields)
    except ValidationError as error:
        text = validation_message(error, fields=NodeSettings.model_fields)
        first = error.errors()[0]
        if first["loc"][:1] == ("database_url",):
            text = "database_url must be an SQLAlchemy URL"  # it may hold a password
        if first["loc"][:1] == ("login",) and first["type"] != "value_error":  # so may this
            text = 'login must be tables [login."URL"] of user, and of env or file'
        raise ConfigError(f"{text}; {_WAY_OUT} of the node") from error


def _from_folder(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of a file with its relative paths resolved."""
    fields = _in_folder(fields, folder, ("folder", "private_key"))
    if isinstance(tls := fields.get("tls"), dict):
        fields["tls"] = _in_folder(tls, folder, ("cert", "key", "ca"))
    if isinstance(logins := fields.get("login"), dict):
        fields["login"] = {
            url: _in_folder(one, folder, ("file",)) if isinstance(one, dict) else one
            for url, one in logins.items()
        }
    return fields


def _in_folder(values: dict[str, Any], folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: folder / value if name in names and isinstance(value, str) else value
        for name, value in values.items()
    }
