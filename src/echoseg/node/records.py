"""Tables of a node's database."""

from enum import StrEnum

from sqlalchemy import BigInteger, Double, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1
_UID_LENGTH = 64
"""Longest UID, PS3.5 9.1."""


class State(StrEnum):
    """How far a study, or a result on its way to a target, has come.

    A study: `received` while instances may still come, `queued` when it is complete, `running`,
    `done` with results on disk, `pushed` when each target has them, `committed` when each target
    has taken responsibility for them, `failed` after the last try. A delivery: `queued`, `running`,
    `pushed`, `committed`, `failed`.
    """

    RECEIVED = "received"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    PUSHED = "pushed"
    COMMITTED = "committed"


class Base(DeclarativeBase):
    """Base of all tables. Times are seconds since 1970, UTC."""

    type_annotation_map = {float: Double, int: BigInteger}  # noqa: RUF012


class Row(Base):
    """What both kinds of job have: a state, and when it is tried again.

    `attempts` counts failed tries, `interruptions` those ended by the end of the node.
    """

    __abstract__ = True

    state: Mapped[str] = mapped_column(String(16), index=True)
    worker: Mapped[str] = mapped_column(String(128), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    interruptions: Mapped[int] = mapped_column(default=0)
    next_attempt_s: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str] = mapped_column(Text, default="")


class SchemaVersion(Base):
    """Version of the tables, one row."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Study(Row):
    """A study; `revision` counts its instances, `analyzed` those of its last result."""

    __tablename__ = "study"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    study_uid: Mapped[str] = mapped_column(String(_UID_LENGTH), unique=True)
    last_received_s: Mapped[float]
    finished_s: Mapped[float] = mapped_column(default=0.0)
    revision: Mapped[int] = mapped_column(default=0)
    analyzed: Mapped[int] = mapped_column(default=0)


class Instance(Base):
    """A received SOP instance; its path is relative to the node's folder."""

    __tablename__ = "instance"

    instance_uid: Mapped[str] = mapped_column(String(_UID_LENGTH), primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey("study.name"), index=True)
    class_uid: Mapped[str] = mapped_column(String(_UID_LENGTH))
    transfer_syntax: Mapped[str] = mapped_column(String(_UID_LENGTH))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    num_bytes: Mapped[int]
    sender: Mapped[str] = mapped_column(String(16))
    received_s: Mapped[float]


class Delivery(Row):
    """A result object on its way to a target; `transaction_uid` is of its storage commitment."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("target", "instance_uid"),)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,  # SQLite counts those only
    )
    study: Mapped[str] = mapped_column(ForeignKey("study.name"), index=True)
    target: Mapped[str] = mapped_column(Text)
    class_uid: Mapped[str] = mapped_column(String(_UID_LENGTH))
    instance_uid: Mapped[str] = mapped_column(String(_UID_LENGTH))
    path: Mapped[str] = mapped_column(Text)
    pushed_s: Mapped[float] = mapped_column(default=0.0)
    transaction_uid: Mapped[str] = mapped_column(String(_UID_LENGTH), default="", index=True)
    requested_s: Mapped[float] = mapped_column(default=0.0)
