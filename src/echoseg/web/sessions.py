"""Sessions of signed-in readers, and the tokens that requests carry.

A browser holds a random token in a cookie. Of a signed-in one the database holds the SHA-256. The
CSRF token is an HMAC of the cookie's token, by a key in the page's folder, so that a page that was
open before a restart still works after it.
"""

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete, or_

from echoseg.database import Database
from echoseg.errors import OutputError
from echoseg.web.accounts import Reader
from echoseg.web.records import Account, Role, SignIn
from echoseg.web.refusal import Refusal

IDLE_S, MAX_AGE_S = 60 * 60, 12 * 60 * 60
_USED_EVERY_S = 60
_KEY_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """A random token of 256 bits."""
    return secrets.token_urlsafe(_KEY_BYTES)


def is_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return bool(_TOKEN.fullmatch(text))


class Sessions:
    """Who is signed in.

    Args:
        database: The database.
        folder: The page's folder, for the key of CSRF tokens.
        clock: Seconds since 1970.

    Raises:
        OutputError: If the key cannot be made or read.
    """

    def __init__(
        self, database: Database, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._clock = database, clock
        self._key = _read_key(folder / "page.key")

    def begin(self, reader: Reader) -> str:
        """Begin a session with a new token, which is returned; remove those that are over.

        Raises:
            Refusal: With 401, if the account was removed, or its password changed, after it was
                verified.
        """
        token, now_s = new_token(), self._clock()
        with self._database.transaction() as session:
            account = session.get(Account, reader.name, with_for_update=True)
            if account is None or reader.password_hash not in ("", account.password_hash):
                raise Refusal(401, "Name and password do not fit.")
            is_over = or_(SignIn.last_used_s < now_s - IDLE_S, SignIn.created_s < now_s - MAX_AGE_S)
            session.execute(delete(SignIn).where(is_over))
            session.add(
                SignIn(
                    token_sha256=_sha256(token),
                    account=reader.name,
                    last_used_s=now_s,
                    created_s=now_s,
                )
            )
        return token

    def reader(self, token: str, *, is_use: bool = True) -> Reader | None:
        """Who holds a token; None where the session is over or there was none.

        Args:
            token: The token.
            is_use: Whether this is a use of the session, which keeps it from ending.
        """
        if not is_token(token):
            return None
        now_s = self._clock()
        with self._database.transaction() as session:
            row = session.get(SignIn, _sha256(token))
            if row is None:
                return None
            if now_s - row.last_used_s > IDLE_S or now_s - row.created_s > MAX_AGE_S:
                session.delete(row)
                return None
            if is_use and now_s - row.last_used_s > _USED_EVERY_S:
                row.last_used_s = now_s
            account = session.get_one(Account, row.account)
            return Reader(account.name, Role(account.role))

    def end(self, token: str) -> None:
        """End the session of a token."""
        with self._database.transaction() as session:
            session.execute(delete(SignIn).where(SignIn.token_sha256 == _sha256(token)))

    def csrf_token(self, token: str) -> str:
        """What the page of a token must send along with every change."""
        return hmac.new(self._key, token.encode(), "sha256").hexdigest()

    def is_csrf_token(self, token: str, text: str) -> bool:
        """Whether a text is the CSRF token of a token, compared in constant time."""
        return is_token(token) and hmac.compare_digest(
            self.csrf_token(token).encode(), text.encode()
        )


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read_key(path: Path) -> bytes:
    """The key in a file of mode 0600, which is made if missing."""
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path} cannot be made or read ({error.strerror})") from error
    if len(key) != _KEY_BYTES:
        raise OutputError(
            f"{path} must have {_KEY_BYTES} bytes, got {len(key)}; remove it, and a new one is made"
        )
    return key
