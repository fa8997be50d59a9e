"""A queue on each database; PostgreSQL where it is installed."""

import itertools

import pytest

from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from node_makers import Clock, postgresql, postgresql_tools

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql_url():
    import psycopg

    if (tools := postgresql_tools()) is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with postgresql(tools) as url:

        def new_database():
            name = f"node{next(_numbers)}"
            with psycopg.connect(url % "postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return url % name

        yield new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'node.sqlite'}"
    return request.getfixturevalue("postgresql_url")()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(database_url, tmp_path):
    return NodeSettings(
        folder=tmp_path,
        database_url=database_url,
        push=("PACS@127.0.0.1:104", "http://127.0.0.1/dicom-web"),
        max_instances=3,
        max_attempts=3,
    )


@pytest.fixture
def queue(settings, clock):
    with_clock = Queue(settings, clock)
    yield with_clock
    with_clock.close()
