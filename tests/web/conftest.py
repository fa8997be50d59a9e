"""A page in a new folder, with its client."""

import functools

import argon2
import pytest

from browsers import chromium, opened
from echoseg.web.settings import PageSettings
from fake_page import FakePage, running
from page_makers import page_client


@pytest.fixture(autouse=True)
def slow_hasher(monkeypatch):
    """The hasher of passwords, in whose place tests have a fast one."""
    slow = argon2.PasswordHasher
    fast = functools.partial(slow, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(argon2, "PasswordHasher", fast)
    return slow


@pytest.fixture
def settings(tmp_path):
    return PageSettings(folder=tmp_path / "page")


@pytest.fixture
def stored(settings, database_url):
    """Settings on a database of each kind."""
    return settings.model_copy(update={"database_url": database_url})


@pytest.fixture
def client(settings):
    with page_client(settings) as one:
        yield one


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def fake():
    """A server that plays along."""
    return FakePage()


@pytest.fixture
def page(browser, fake):
    """Its reader page."""
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        yield page
