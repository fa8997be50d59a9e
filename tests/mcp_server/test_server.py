"""The MCP server with the protocol's own client: answers, refusals, limits, the real command."""

import asyncio
import json
import os
import re
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.cli.options import demo_clips
from echoseg.errors import ConfigError
from echoseg.io import load_masks
from echoseg.mcp_server import server
from echoseg.mcp_server.server import INSTRUCTIONS, McpSettings, build_server, tools
from echoseg.parallel import Limits
from misbehave import mcp_work

RESULT_FIELDS = ("ef_percent", "edv_ml", "esv_ml")


def beating(num_frames=50):
    y, x = np.mgrid[:80, :60]
    radius = 12 + 4 * np.cos(2 * np.pi * np.arange(num_frames) / 25)
    distance = np.hypot((x - 30) / radius[:, None, None], (y - 40) / (1.8 * radius[:, None, None]))
    return (distance < 1).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Clips that the server may read, and one beside them that it may not."""
    root = tmp_path_factory.mktemp("mcp")
    (root / "clips").mkdir()
    image = nib.Nifti1Image(beating().transpose(2, 1, 0), np.diag([1.2, 1.2, 0.04, 1]))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, root / "clips" / "masks.nii.gz")
    shutil.copy(demo_clips()["simulated"], root / "clips" / "Jane_Doe.dcm")
    (root / "secret.txt").write_text("secret")
    (root / "clips" / "link.dcm").symlink_to(root / "secret.txt")
    return root


def call(root, *requests, limits=None):
    """Results of calls (tool, arguments) by one client."""
    settings = McpSettings(
        (root / "clips",), root / "results", limits=limits or Limits(timeout_s=120, memory_gb=4)
    )

    async def run():
        with tools(settings) as calls:
            async with Client(build_server(calls)) as client:
                return [await client.call_tool(name, values) for name, values in requests]

    return asyncio.run(run())


def text_of(result):
    return " ".join(part.text for part in result.content)


def test_the_tools_describe_themselves_and_warn(folder):
    async def run():
        with tools(McpSettings((folder / "clips",), folder / "results")) as calls:
            async with Client(build_server(calls)) as client:
                return (await client.list_tools()).tools, client.instructions

    listed, instructions = asyncio.run(run())
    assert [tool.name for tool in listed] == ["analyze", "measure", "inspect", "explain"]
    assert instructions == INSTRUCTIONS and "not a medical device" in instructions
    for tool in listed:
        assert tool.description and tool.input_schema["properties"]
        assert tool.annotations.read_only_hint == (tool.name in ("inspect", "explain"))
    assert "ef_interval_percent" in listed[0].output_schema["properties"]


def test_masks_are_measured_and_explained_and_a_repeated_call_gives_the_same(folder):
    arguments = {"masks": "masks.nii.gz", "view": "A4C"}
    one, two = call(folder, ("measure", arguments), ("measure", arguments))
    values = one.structured_content
    # volumes go with the cube of the radius: 1 - (8 / 16) ** 3
    assert values["ef_percent"] == pytest.approx(87.5, abs=1)
    assert values["edv_ml"] > values["esv_ml"] > 0 and values["num_frames"] == 50
    assert "medical device" in values["disclaimer"]
    assert two.structured_content == values
    (explained,) = call(folder, ("explain", {"result": values["result"]}))
    document = explained.structured_content
    assert {name: document[name] for name in values} == values
    assert len(document["beats"]) == values["num_beats"]
    assert load_masks(f"{values['result']}/masks.nii.gz")[1].shape == (50, 80, 60)


def test_a_clip_is_analyzed_and_its_name_stays_here(folder):
    (result,) = call(folder, ("analyze", {"clip": "Jane_Doe.dcm"}))
    values = result.structured_content
    assert 40 < values["ef_percent"] < 75
    low, high = values["ef_interval_percent"]
    assert low < values["ef_percent"] < high
    (explained,) = call(folder, ("explain", {"result": values["result"]}))
    assert explained.structured_content["facts"]["Software"]
    assert "Jane" not in text_of(result) + text_of(explained)


def test_inspect_says_what_a_file_states(folder):
    (result,) = call(folder, ("inspect", {"file": "Jane_Doe.dcm"}))
    document = result.structured_content
    assert document["clip"] and document["file"]
    assert "Jane" not in json.dumps(document)


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("analyze", {"clip": "../secret.txt"}, "must be inside a folder"),
        ("analyze", {"clip": "/etc/passwd"}, "must be inside a folder"),
        ("inspect", {"file": "link.dcm"}, "must be inside a folder"),
        ("analyze", {"clip": "none.dcm"}, "nothing is at that path"),
        ("inspect", {"file": "a\0b"}, "must be inside a folder"),
        ("inspect", {"file": "a" * 5000}, "4096"),
        ("explain", {"result": "masks.nii.gz"}, "result folder"),
        ("explain", {"result": "."}, "must be a result folder"),
        ("analyze", {"clip": "masks.nii.gz"}, "masks and not frames"),
        ("measure", {"masks": "Jane_Doe.dcm"}, "masks"),
        ("measure", {"masks": "masks.nii.gz", "fps": -1}, "--fps"),
        ("measure", {"masks": "masks.nii.gz", "spacing_mm": [0, 0]}, "--spacing-mm"),
        ("measure", {"masks": "masks.nii.gz", "view": "A9C"}, "A4C"),
        ("analyze", {}, "clip must be given"),
        ("explain", {"result": 4}, "result must be a valid string, got 4"),
    ],
)
def test_what_is_wrong_is_an_error_in_a_sentence(folder, tool, arguments, words):
    (result,) = call(folder, (tool, arguments))
    assert result.is_error and words in text_of(result)
    assert not {"Traceback", "pydantic", "validation"} & set(re.split(r"\W", text_of(result)))
    assert "secret" not in text_of(result).replace("secret.txt", "")
    assert str(folder) not in text_of(result)


def test_a_call_that_ends_at_its_limit_leaves_nothing(folder):
    limits = Limits(timeout_s=0.3, memory_gb=4)
    (slow,) = call(folder, ("analyze", {"clip": "Jane_Doe.dcm", "fps": 31}), limits=limits)
    assert slow.is_error and "given up: it took longer than 0.3 s" in text_of(slow)
    assert not list((folder / "results").glob("*/.*new*"))


def test_after_a_call_at_its_limits_the_next_one_works(folder, monkeypatch):
    monkeypatch.setattr(server, "work", mcp_work)
    for word in ("hang", "grow", "segfault"):
        (folder / "clips" / f"{word}.avi").touch()
    names = ("hang.avi", "grow.avi", "segfault.avi", "masks.nii.gz")
    calls = [("inspect", {"file": name}) for name in names]
    *lost, fine = call(folder, *calls, limits=Limits(timeout_s=10, memory_gb=0.3))
    for result, words in zip(
        lost, ("longer than 10 s", "more than 0.3 GB of memory", "SIGSEGV"), strict=True
    ):
        assert result.is_error and "given up" in text_of(result) and words in text_of(result)
    assert not fine.is_error and "NIfTI" in text_of(fine)


def test_folders_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="must exist"):
        McpSettings((tmp_path / "none",), tmp_path)
    with pytest.raises(ConfigError, match="at least one folder"):
        McpSettings((), tmp_path)


def test_a_folder_of_results_that_cannot_be_made_is_refused(folder, tmp_path):
    (tmp_path / "note.txt").touch()
    words = ["mcp", str(folder / "clips"), "-o", str(tmp_path / "note.txt")]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 2
    assert "note.txt cannot be made (File exists); choose another folder" in run.stderr


def test_the_real_command_answers_on_standard_output(folder, tmp_path):
    command = ["-m", "echoseg", "mcp", str(folder / "clips"), "-o", str(tmp_path / "results")]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))

    async def run():
        async with Client(stdio_client(server)) as client:
            return await client.call_tool("measure", {"masks": "masks.nii.gz"})

    result = asyncio.run(run())
    assert not result.is_error and result.structured_content["num_frames"] == 50
