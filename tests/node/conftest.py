"""A queue on each database; PostgreSQL where it is installed."""

import gc
import warnings

import pytest

from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from node_makers import Clock, ListeningNode


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


@pytest.fixture
def start(tmp_path):
    """Start nodes that listen, with settings; stopped at the end."""
    nodes = []

    def start_node(**options):
        options = {"folder": tmp_path / "node", "port": 0, "min_free_gb": 0} | options
        nodes.append(ListeningNode(NodeSettings(**options)))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # pynetdicom leaves sockets of ended associations to it
