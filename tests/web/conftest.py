"""A page in a new folder, with its client."""

import pytest

from echoseg.web.settings import PageSettings
from page_makers import page_client


@pytest.fixture
def settings(tmp_path):
    return PageSettings(folder=tmp_path / "page")


@pytest.fixture
def client(settings):
    with page_client(settings) as one:
        yield one
