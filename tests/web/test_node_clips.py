"""A node's clips in the worklist: each once, new ones as they come."""

import pytest

from echoseg.database import Database
from echoseg.errors import ConfigError
from echoseg.node.records import SCHEMA_VERSION, Instance, SchemaVersion, Study
from echoseg.node.settings import NodeSettings
from echoseg.web.api import WorklistQuery
from echoseg.web.node_clips import NodeClips
from worklist_makers import open_worklist, wait_for, write_clip


def receive(settings, *numbers, state="received"):
    """What the node does when instances come."""
    database = Database(settings.url, SchemaVersion, SCHEMA_VERSION)
    with database.transaction() as session:
        study = {"state": state, "study_uid": "1.2", "last_received_s": 1.0}
        database.insert_missing(session, Study, [study | {"name": "study-1"}])
        for number in numbers:
            path = f"studies/study-1/{number}.dcm"
            write_clip(settings.folder / path, number, num_frames=12, StudyInstanceUID="1.2")
            known = {"class_uid": "1", "transfer_syntax": "1", "sender": "A", "num_bytes": 1}
            known |= {"sha256": "0" * 64, "received_s": float(number), "path": path}
            session.add(Instance(instance_uid=f"1.2.{number}", study="study-1", **known))
    database.close()


@pytest.fixture
def worklist(tmp_path):
    one = open_worklist(tmp_path / "page")
    yield one
    one.database.close()


def test_received_clips_come_once_and_stand_in_one_study(worklist, tmp_path):
    settings = NodeSettings(folder=tmp_path / "node")
    settings.folder.mkdir()
    receive(settings, 1, 2)
    clips = NodeClips(settings, worklist, "node")
    assert (clips.step(), clips.step()) == (2, 0)
    rows = worklist.page(WorklistQuery()).rows
    assert len(rows) == 2 and len({row.study for row in rows}) == 1 and rows[0].study
    receive(settings, 3)
    assert clips.step() == 1 and worklist.page(WorklistQuery()).total == 3
    clips.close()
    again = NodeClips(settings, worklist, "node")
    again.start()
    receive(settings, 4)
    again.step()
    wait_for(lambda: worklist.page(WorklistQuery()).total == 4)
    again.close()


def test_a_file_that_retention_removed_is_passed_over(worklist, tmp_path):
    settings = NodeSettings(folder=tmp_path / "node")
    settings.folder.mkdir()
    receive(settings, 1)
    (settings.folder / "studies" / "study-1" / "1.dcm").unlink()
    clips = NodeClips(settings, worklist, "node")
    assert clips.step() == 0
    clips.close()


def test_a_node_that_never_ran_is_refused(worklist, tmp_path):
    with pytest.raises(ConfigError, match="start the node first"):
        NodeClips(NodeSettings(folder=tmp_path / "none"), worklist, "node")
