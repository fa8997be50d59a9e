"""A queue on each database; PostgreSQL where it is installed."""

import pytest

from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from node_makers import Clock


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
