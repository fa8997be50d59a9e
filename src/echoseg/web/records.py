"""Tables of the page's database. Times are seconds since 1970, UTC."""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1
Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts INTEGER keys only


class ClipState(StrEnum):
    """How far a clip has come: `queued`, `running`, then `ready` or `failed`."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class Role(StrEnum):
    """What an account may do: a `reader` reads and corrects, an `admin` also adds accounts."""

    READER = "reader"
    ADMIN = "admin"


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {float: Double, bytes: LargeBinary, bool: Boolean}  # noqa: RUF012


class PageVersion(Base):
    """Version of the tables, one row."""

    __tablename__ = "page_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Account(Base):
    """Who may sign in; `password_hash` is argon2id."""

    __tablename__ = "page_account"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(16))
    created_s: Mapped[float]


class SignIn(Base):
    """A session of an account, by the SHA-256 of its token."""

    __tablename__ = "page_sign_in"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("page_account.name"), index=True)
    last_used_s: Mapped[float]
    created_s: Mapped[float]


class ClipRow(Base):
    """A clip of the worklist, and what its newest reading says, for filters and sorting.

    `id` is the start of the SHA-256 of its content, so a clip that is added twice is one row.
    `source` is the path of its file; one that was dropped lies in the page's folder. `study` is a
    keyed hash of the Study Instance UID, or of the folder; clips of one study stand together.
    """

    __tablename__ = "page_clip"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    study: Mapped[str] = mapped_column(String(64), default="", index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    added_s: Mapped[float] = mapped_column(index=True)
    analyzed_s: Mapped[float] = mapped_column(default=0.0)
    view: Mapped[str] = mapped_column(String(16), default="unknown")
    num_frames: Mapped[int] = mapped_column(default=0)
    ef_kind: Mapped[str] = mapped_column(String(16), default="none", index=True)
    ef_percent: Mapped[float | None] = mapped_column(default=None, index=True)
    ef_low_percent: Mapped[float | None] = mapped_column(default=None)
    ef_high_percent: Mapped[float | None] = mapped_column(default=None)
    is_corrected: Mapped[bool] = mapped_column(default=False, index=True)
    decision: Mapped[str] = mapped_column(String(16), default="", index=True)
    label_priority: Mapped[float | None] = mapped_column(default=None, index=True)


class ReadRow(Base):
    """The reading of a clip by one reader: `slot` 1 is the first read, 2 the blinded second one.

    `head` is the edit that is shown; undo and redo move it. A signed reading has a decision, with
    a reason, and takes no more edits. `summary` is the JSON of what the worklist shows of it. Two
    reads are not independent after one was reopened when both were signed.
    """

    __tablename__ = "page_read"
    __table_args__ = (UniqueConstraint("clip", "slot"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    clip: Mapped[str] = mapped_column(ForeignKey("page_clip.id"), index=True)
    slot: Mapped[int]
    reader: Mapped[str] = mapped_column(String(64))
    begun_s: Mapped[float]
    head: Mapped[int | None] = mapped_column(Number, default=None)
    decision: Mapped[str] = mapped_column(String(16), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    signed_s: Mapped[float] = mapped_column(default=0.0)
    signed_by: Mapped[str] = mapped_column(String(64), default="")
    is_independent: Mapped[bool] = mapped_column(default=True)
    summary: Mapped[str] = mapped_column(Text, default="")
    ef_percent: Mapped[float | None] = mapped_column(default=None)
    edv_ml: Mapped[float | None] = mapped_column(default=None)
    esv_ml: Mapped[float | None] = mapped_column(default=None)


class EditRow(Base):
    """One edit: who, when, why, what; `parent` is the edit before, None the network's result.

    Edits are only ever added. `operation` is the JSON of the request; `frames` the label maps that
    it changed, compressed; `parameters` the JSON of all that holds after it besides masks.
    """

    __tablename__ = "page_edit"

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    read: Mapped[int] = mapped_column(ForeignKey("page_read.id"), index=True)
    parent: Mapped[int | None] = mapped_column(Number, default=None)
    account: Mapped[str] = mapped_column(String(64))
    time_s: Mapped[float]
    reason: Mapped[str] = mapped_column(Text, default="")
    operation: Mapped[str] = mapped_column(Text)
    parameters: Mapped[str] = mapped_column(Text)
    frames: Mapped[bytes] = mapped_column(default=b"")


class DecisionRow(Base):
    """A signature, or a reading that was reopened: who, when, why, at which edit, which numbers.

    Rows are only ever added.
    """

    __tablename__ = "page_decision"

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    read: Mapped[int] = mapped_column(ForeignKey("page_read.id"), index=True)
    head: Mapped[int | None] = mapped_column(Number, default=None)
    account: Mapped[str] = mapped_column(String(64))
    time_s: Mapped[float]
    decision: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    ef_percent: Mapped[float | None] = mapped_column(default=None)
    edv_ml: Mapped[float | None] = mapped_column(default=None)
    esv_ml: Mapped[float | None] = mapped_column(default=None)


class SeenRow(Base):
    """Who opened the first read of a clip, and so cannot do a blinded second one."""

    __tablename__ = "page_seen"

    clip: Mapped[str] = mapped_column(ForeignKey("page_clip.id"), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
