"""`echoseg serve training`: what the button gives, and a network learns from it."""

import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.data.custom import collect
from echoseg.files import locked_dir
from page_makers import page_client
from reading_makers import Desk, page_with_clip


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def clip(settings, tmp_path):
    """A corrected and accepted clip of a page that is not being served."""
    page, clip = page_with_clip(settings, tmp_path)
    page.close()
    return clip


def correct(settings, clip, folder=None):
    client = page_client(settings)
    desk = Desk(client, clip)
    desk.edit("brush", frame=20, structure="lv_cavity", line=[(95, 60)], radius_px=9)
    desk.do("decision", decision="accepted")
    if folder is not None:
        answer = client.post("/api/training", json={"folder": str(folder)})
        assert answer.json()["num_clips"] == 1
    client.app.state.page.close()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_gives_what_the_button_gives_and_a_network_learns_from_it(
    settings, clip, tmp_path
):
    correct(settings, clip, tmp_path / "button")
    result = run("serve", "training", settings.folder, "-o", tmp_path / "command")
    assert result.exit_code == 0, result.output
    assert "wrote 1 clips" in result.output
    assert content(tmp_path / "command") == content(tmp_path / "button")
    ((_, annotation),) = collect(tmp_path / "command")
    assert 20 in annotation.labelled_frames
    steps = ("num_steps=1", "num_labeled=1", "num_frames=2", "image_size=64", "accelerator=cpu")
    options = [word for one in steps for word in ("--set", one)]
    data = tmp_path / "command"
    result = run("train", "supervised", "-o", tmp_path / "run", "--data", data, *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 10_000


def test_what_cannot_be_written_says_why_and_writes_nothing(settings, clip, tmp_path):
    output = tmp_path / "new"

    def refused(data, words):
        result = run("serve", "training", data, "-o", output)
        assert result.exit_code == 2 and words in result.output.replace("\n", " ")
        assert not output.exists()

    refused(settings.folder, "no corrected clip is accepted yet")
    refused(tmp_path / "none", "there is no page")
    assert not (tmp_path / "none").exists()
    with locked_dir(settings.folder):
        refused(settings.folder, "in use by another process")
    correct(settings, clip)
    output.mkdir()
    result = run("serve", "training", settings.folder, "-o", output)
    assert result.exit_code == 2 and "exists already" in result.output
    assert not list(output.iterdir())
