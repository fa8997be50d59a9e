"""Accounts of the page: who may sign in, with which role; passwords as argon2id hashes."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from echoseg.audit import AuditLog, Event
from echoseg.database import Database
from echoseg.errors import ConfigError, OutputError
from echoseg.web.records import SCHEMA_VERSION, Account, PageVersion, Role, SignIn
from echoseg.web.refusal import Refusal
from echoseg.web.settings import PageSettings

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_PASSWORD, MAX_PASSWORD = 12, 1024
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_MIN_DIFFERENT, _MIN_PART = 5, 4
_MAX_HASHES, _BUSY_S = 2, 10
"""Hashes that are computed at one time: each takes 64 MiB (RFC 9106, second recommendation)."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks: the name of an account, its role, and the hash by which its password was checked.

    The hash is there from `Accounts.verify` to `Sessions.begin` alone, and empty elsewhere.
    """

    name: str
    role: Role
    password_hash: str = field(default="", repr=False, compare=False)

    @property
    def is_admin(self) -> bool:
        """Whether the account may do what only an admin may."""
        return self.role == Role.ADMIN


class Accounts:
    """The accounts in the page's database.

    Args:
        database: The database.
        audit: Log of what is changed.
        clock: Seconds since 1970.
    """

    def __init__(
        self, database: Database, audit: AuditLog, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._audit, self._clock = database, audit, clock
        self._hashing = threading.BoundedSemaphore(_MAX_HASHES)

    def add(self, name: str, password: str, role: Role) -> Reader:
        """Add an account; names are of lower case.

        Raises:
            ConfigError: If the name or password breaks a rule, or the account exists.
        """
        name = name.strip().lower()
        if not _NAME.fullmatch(name):
            raise ConfigError(
                "the name of an account must be 1 to 64 letters a to z, digits, '.', '-' or '_', "
                f"beginning and ending with a letter or digit, got {name!r:.80}"
            )
        hashed, now_s = self._hash(name, password), self._clock()
        row = {"name": name, "password_hash": hashed, "role": role, "created_s": now_s}
        with self._database.transaction() as session:
            self._database.insert_missing(session, Account, [row])
            if session.get_one(Account, name).password_hash != hashed:  # of another salt
                raise ConfigError(
                    f"the account {name} exists; give it a new password by `account password`, or "
                    "choose another name"
                )
            self._note("account added", name, role=role)
        return Reader(name, role)

    def set_password(self, name: str, password: str) -> None:
        """Give an account a new password, and end its sessions.

        Raises:
            ConfigError: If there is no such account, or the password breaks a rule.
        """
        hashed = self._hash(name, password)
        with self._database.transaction() as session:
            account = _existing(session, name)
            account.password_hash = hashed
            session.execute(delete(SignIn).where(SignIn.account == account.name))
            self._note("account password changed", account.name)

    def remove(self, name: str) -> None:
        """Remove an account and end its sessions; what it read stays.

        Raises:
            ConfigError: If there is no such account.
        """
        with self._database.transaction() as session:
            account = _existing(session, name)
            session.execute(delete(SignIn).where(SignIn.account == account.name))
            session.delete(account)
            self._note("account removed", account.name)

    def all(self) -> list[Reader]:
        """All accounts, by name."""
        with self._database.transaction() as session:
            rows = session.scalars(select(Account).order_by(Account.name))
            return [Reader(row.name, Role(row.role)) for row in rows]

    def known(self, name: str) -> str:
        """The name of an account as it is kept; empty where there is none."""
        name = name.strip().lower()
        with self._database.transaction() as session:
            return name if _NAME.fullmatch(name) and session.get(Account, name) else ""

    def verify(self, name: str, password: str) -> Reader | None:
        """The account of a name and its password, else None.

        An unknown name takes as long as a wrong password.
        """
        from argon2.exceptions import InvalidHashError, VerificationError

        name = name.strip().lower()
        with self._database.transaction() as session:
            account = session.get(Account, name) if _NAME.fullmatch(name) else None
        expected = account.password_hash if account else self._unknown
        try:
            with self._turn():
                self._hasher.verify(expected, password[: MAX_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return None
        return Reader(account.name, Role(account.role), expected) if account else None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until another hash may be computed.

        Raises:
            Refusal: With 503, if too many others wait.
        """
        if not self._hashing.acquire(timeout=_BUSY_S):
            raise Refusal(503, "Too many sign in at once; try again in a minute.", 60)
        try:
            yield
        finally:
            self._hashing.release()

    @cached_property
    def _hasher(self) -> "PasswordHasher":
        from argon2 import PasswordHasher

        return PasswordHasher()

    @cached_property
    def _unknown(self) -> str:
        """A hash that no password of an unknown name fits."""
        return self._hasher.hash("x" * (MAX_PASSWORD + 2))

    def _hash(self, name: str, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise ConfigError(
                f"a password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters, got "
                f"{len(password)}; a sentence is easy to remember"
            )
        holds_name = len(name) >= _MIN_PART and name.lower() in password.lower()
        if len(set(password)) < _MIN_DIFFERENT or holds_name:
            raise ConfigError(
                f"a password must hold {_MIN_DIFFERENT} different characters and not the name of "
                "its account; choose another"
            )
        with self._turn():
            return self._hasher.hash(password)

    def _note(self, event: str, name: str, **options: Any) -> None:
        self._audit.append(Event(event=event, options={"account": name, **options}))


def _existing(session: Any, name: str) -> Account:
    account = session.get(Account, name.strip().lower())
    if account is None:
        raise ConfigError(f"there is no account {name!r:.80}; `account list` shows them")
    return account


def open_accounts(settings: PageSettings) -> tuple[Database, AuditLog, Accounts]:
    """Database, log and accounts of a folder, which is made if missing, for its owner alone.

    Raises:
        ConfigError: If the database cannot be opened.
        OutputError: If the folder cannot be written.
    """
    try:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.folder.chmod(0o700)
    except OSError as error:
        raise OutputError(
            f"{settings.folder} cannot be made or closed to others ({error.strerror}); give "
            "another folder by --data"
        ) from error
    database = Database(settings.url, PageVersion, SCHEMA_VERSION)
    audit = AuditLog(settings.folder / "audit.jsonl")
    return database, audit, Accounts(database, audit)
