"""A database by SQLAlchemy: SQLite in WAL mode with full synchronization, or PostgreSQL.

What a transaction has changed is on disk when it ends. An SQLite transaction takes the write lock
at its start, so it never fails half-way because another one writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session

from echoseg.errors import ConfigError, OutputError

_LOCK_TIMEOUT_S = 30


class Database:
    """A database and its transactions, for several threads.

    Args:
        url: SQLAlchemy URL with its driver.
        versions: The table that holds the version of the tables, in a column `version`; made with
            all tables of its base when they are missing.
        version: The version that this program reads and writes.

    Raises:
        ConfigError: If it cannot be opened, or its tables are of another version.
    """

    def __init__(self, url: str, versions: type[DeclarativeBase], version: int) -> None:
        self._versions, self._version = versions, version
        self.engine = _open(url)
        self._insert = sqlite.insert if self.engine.name == "sqlite" else postgresql.insert
        try:
            try:
                self._make_tables()
            except IntegrityError:  # another process makes them at the same time
                self._make_tables()
        except BaseException:
            self.close()
            raise

    def _make_tables(self) -> None:
        with _usable():
            self._versions.metadata.create_all(self.engine)
        column = self._versions.__table__.c.version
        with self.transaction() as session:
            self.insert_missing(session, self._versions, [{"version": self._version}])
            versions = sorted(session.scalars(select(column)))
        if versions != [self._version]:
            raise ConfigError(
                f"database_url must be a database of version {self._version} of the tables, it "
                f"has {versions}; use the version of echoseg that made it, or another database"
            )

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session; commit at the end, roll back after an exception.

        Raises:
            OutputError: If the database cannot be used.
            IntegrityError: If another transaction inserted the same key.
        """
        with _usable(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def insert_missing(
        self, session: Session, table: type[DeclarativeBase], rows: list[dict]
    ) -> None:
        """Insert the rows whose keys are not there yet."""
        if rows:
            session.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def _usable() -> Iterator[None]:
    """Turn errors of the database into one sentence, without its address and its password."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise OutputError(
            f"the database cannot be used ({type(cause).__name__}); check that it "
            "runs, that database_url is right and that its disk has space"
        ) from error


def _open(url: str) -> Engine:
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if not is_sqlite and parsed.get_backend_name() != "postgresql":
            raise ConfigError("database_url must be of SQLite or PostgreSQL")
        if is_sqlite:
            engine = create_engine(parsed, connect_args={"timeout": _LOCK_TIMEOUT_S})
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_immediate)
            return engine
        return create_engine(parsed, pool_pre_ping=True, pool_size=10)
    except SQLAlchemyError as error:
        raise ConfigError(
            "database_url must be an SQLAlchemy URL, such as postgresql://USER@HOST/NAME"
        ) from error
    except ImportError as error:
        raise ConfigError(
            "database_url names PostgreSQL, whose driver is missing; pip install "
            "'echoseg[postgresql]'"
        ) from error


def _set_up_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # or the driver begins transactions later than we do
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
