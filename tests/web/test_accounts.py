"""Accounts and sessions, on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor

import argon2
import pytest

from echoseg.errors import ConfigError
from echoseg.web.accounts import Reader
from echoseg.web.app import Page
from echoseg.web.records import Account, Role, SignIn
from echoseg.web.refusal import Refusal
from echoseg.web.sessions import IDLE_S, MAX_AGE_S, Sessions
from node_makers import Clock
from page_makers import PASSWORD


@pytest.fixture
def page(stored):
    page = Page.open(stored)
    yield page
    page.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(page, clock):
    return Sessions(page.database, page.settings.folder, clock)


def events(page):
    return [(one.event, one.options.get("account")) for one in page.audit.records()]


def test_an_account_is_added_verified_and_removed(page):
    accounts = page.accounts
    assert accounts.add(" Meier ", PASSWORD, Role.READER) == Reader("meier", Role.READER)
    assert accounts.add("chief", PASSWORD, Role.ADMIN).is_admin
    assert [reader.name for reader in accounts.all()] == ["chief", "meier"]
    assert accounts.verify("MEIER", PASSWORD) == Reader("meier", Role.READER)
    assert accounts.verify("meier", PASSWORD + ".") is None
    assert accounts.verify("nobody", PASSWORD) is None
    accounts.set_password("meier", "another long sentence")
    assert accounts.verify("meier", PASSWORD) is None
    accounts.remove("meier")
    assert accounts.verify("meier", "another long sentence") is None
    assert events(page) == [
        ("account added", "meier"), ("account added", "chief"),
        ("account password changed", "meier"), ("account removed", "meier"),
    ]  # fmt: skip
    assert page.audit.verify().problems == ()


@pytest.mark.parametrize(
    ("name", "password", "rule"),
    [
        ("", PASSWORD, "name"), ("a b", PASSWORD, "name"), ("<b>", PASSWORD, "name"),
        ("-a", PASSWORD, "name"), ("é", PASSWORD, "name"), ("a" * 65, PASSWORD, "name"),
        ("../x", PASSWORD, "name"), ("a\n", PASSWORD * 99, "characters"),
        ("meier", "short", "12 to 1024"), ("meier", "meier is my name", "not the name"),
        ("meier", "aaaaaaaaaaaaaaaa", "5 different"),
    ],
)  # fmt: skip
def test_a_name_or_password_that_breaks_a_rule_is_refused(page, name, password, rule):
    with pytest.raises(ConfigError, match=rule):
        page.accounts.add(name, password, Role.READER)
    assert page.accounts.all() == []
    assert events(page) == []


def test_an_account_that_two_add_at_one_time_is_added_once(page):
    def add(role):
        try:
            return page.accounts.add("meier", PASSWORD, role).role
        except ConfigError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        roles = list(pool.map(add, [Role.READER, Role.ADMIN] * 2))
    assert sorted(roles)[:3] == ["", "", ""]
    assert [reader.role for reader in page.accounts.all()] == [max(roles)]
    assert len(events(page)) == 1


def test_accounts_that_are_there_or_not_are_named(page):
    page.accounts.add("meier", PASSWORD, Role.READER)
    with pytest.raises(ConfigError, match="exists"):
        page.accounts.add("Meier", PASSWORD, Role.ADMIN)
    for act in (page.accounts.remove, lambda name: page.accounts.set_password(name, PASSWORD)):
        with pytest.raises(ConfigError, match="no account"):
            act("schmidt")


def test_a_password_is_kept_as_its_hash_only(page):
    page.accounts.add("meier", PASSWORD, Role.READER)
    with page.database.transaction() as session:
        assert session.get_one(Account, "meier").password_hash.startswith("$argon2id$")
    page.database.close()
    files = [path for path in page.settings.folder.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)


def test_an_unknown_name_takes_as_long_as_a_wrong_password(settings, monkeypatch, slow_hasher):
    monkeypatch.setattr(argon2, "PasswordHasher", slow_hasher)
    page = Page.open(settings)
    page.accounts.add("meier", PASSWORD, Role.READER)
    page.accounts.verify("nobody", "warm up, please")
    with page.database.transaction() as session:
        hashed = session.get_one(Account, "meier").password_hash
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # RFC 9106, its second choice

    def seconds(name):
        start = time.process_time()
        page.accounts.verify(name, "a wrong password")
        return time.process_time() - start

    times = [(seconds("meier"), seconds("nobody")) for _ in range(3)]
    page.close()
    known, unknown = map(min, zip(*times, strict=True))
    assert 0.5 < known / unknown < 2


def test_a_session_holds_until_it_is_idle_or_old(page, sessions, clock):
    reader = page.accounts.add("meier", PASSWORD, Role.READER)
    token = sessions.begin(reader)
    clock.wait(IDLE_S - 1)
    assert sessions.reader(token) == reader
    clock.wait(IDLE_S - 1)
    assert sessions.reader(token) == reader
    clock.wait(IDLE_S + 1)
    assert sessions.reader(token) is None
    token = sessions.begin(reader)
    for _ in range(MAX_AGE_S // 1800):
        clock.wait(1800)
        assert sessions.reader(token) == reader
    clock.wait(1)
    assert sessions.reader(token) is None


def test_a_sign_in_that_overlaps_a_new_password_or_a_removal_is_none(page, sessions):
    page.accounts.add("meier", PASSWORD, Role.READER)
    verified = page.accounts.verify("meier", PASSWORD)
    page.accounts.set_password("meier", "another long sentence")
    with pytest.raises(Refusal, match="do not fit"):
        sessions.begin(verified)
    verified = page.accounts.verify("meier", "another long sentence")
    assert verified.password_hash not in repr(verified)
    page.accounts.remove("meier")
    with pytest.raises(Refusal, match="do not fit"):
        sessions.begin(verified)


def test_a_session_ends_with_sign_out_a_new_password_and_the_account(page, sessions):
    reader = page.accounts.add("meier", PASSWORD, Role.READER)
    first, second = sessions.begin(reader), sessions.begin(reader)
    assert first != second
    sessions.end(first)
    assert (sessions.reader(first), sessions.reader(second)) == (None, reader)
    page.accounts.set_password("meier", "another long sentence")
    assert sessions.reader(second) is None
    third = sessions.begin(reader)
    page.accounts.remove("meier")
    assert sessions.reader(third) is None


def test_the_database_knows_no_token(page, sessions):
    token = sessions.begin(page.accounts.add("meier", PASSWORD, Role.READER))
    with page.database.transaction() as session:
        (row,) = session.query(SignIn).all()
        assert token not in (row.token_sha256, row.account)
    for text in ("", "' or 1=1 --", row.token_sha256, token + "x", token[:-1]):
        assert sessions.reader(text) is None


def test_a_csrf_token_is_of_its_browser_and_survives_a_restart(page, sessions, clock):
    one, other = "a" * 43, "b" * 43
    text = sessions.csrf_token(one)
    again = Sessions(page.database, page.settings.folder, clock)
    assert again.is_csrf_token(one, text)
    assert not again.is_csrf_token(other, text)
    assert not again.is_csrf_token("short", again.csrf_token("short"))
    assert not again.is_csrf_token(one, "é")
    key = page.settings.folder / "page.key"
    assert key.stat().st_mode & 0o077 == 0
