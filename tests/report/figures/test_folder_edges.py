"""Edges of the result folder and the report: odd names, races, links, the schema."""

import json
from dataclasses import replace
from json import dumps
from pathlib import Path

import pytest

from echoseg.clip import Clip, View
from echoseg.errors import OutputError
from echoseg.files import write_mark
from echoseg.report import writer as results
from echoseg.report.schema import Report, build_report, json_schema
from echoseg.report.writer import result_folder_names, write_results


@pytest.fixture
def short_write(monkeypatch):
    """Write a folder of one small file, so that only the moving is tested."""

    def write(analysis, folder, **options):
        write_mark(
            folder, "report.json", lambda files: dumps({"content": analysis, "files": files})
        )

    monkeypatch.setattr(results, "_write_all", write)


def content(folder):
    return json.loads((folder / "report.json").read_text())["content"]


def test_uid_names_accents_and_long_names_are_kept_apart():
    sources = [
        "1.2.840.5",
        "1.2.840.6",
        "e\u0301cho.avi",
        "हृदय.mp4",
        "\udcff.avi",
        "ü" * 120 + ".avi",
    ]
    names = result_folder_names([Path(source) for source in sources])
    assert names[:5] == ["1.2.840.5", "1.2.840.6", "écho", "हृदय", "clip"]
    assert names[5] == "ü" * 90


def test_a_folder_made_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    folder = tmp_path / "clip"

    def write(analysis, partial, **options):
        folder.mkdir()
        (folder / "report.json").write_text("theirs")

    monkeypatch.setattr(results, "_write_all", write)
    with pytest.raises(OutputError, match="--force"):
        write_results(None, folder)
    assert (folder / "report.json").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


@pytest.mark.parametrize("error", [OSError("odd"), KeyboardInterrupt()])
def test_the_old_folder_comes_back_when_the_swap_is_cut(tmp_path, monkeypatch, short_write, error):
    folder = write_results("old", tmp_path / "clip")
    rename = Path.rename

    def cut(self, target):
        if self.parent.name == "new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", cut)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        write_results("new", folder, force=True)
    assert content(folder) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_a_replaced_link_leaves_what_it_pointed_to(tmp_path, short_write):
    real = write_results("old", tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    write_results("new", tmp_path / "link", force=True)
    assert content(real) == "old"
    assert content(tmp_path / "link") == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_the_schema_allows_nothing_unknown_and_names_units():
    schema = json_schema()
    assert schema["additionalProperties"] is False
    results_keys = set(schema["$defs"]["Measurement"]["properties"])
    assert {"ef_percent", "edv_ml", "esv_ml", "heart_rate_bpm"} <= results_keys
    assert {"frames", "disks", "warnings"} & results_keys == set()


def test_a_report_is_strict_json_and_comes_back(made_up_analysis):
    clip: Clip = replace(
        made_up_analysis.clip, source="/home/smith/a\udcff.dcm", view=View.A4C, damaged_frames=(3,)
    )
    found = made_up_analysis.measurement.model_copy(update={"heart_rate_bpm": float("nan")})
    report = build_report(replace(made_up_analysis, clip=clip, measurement=found))
    text = report.model_dump_json()
    json.loads(text, parse_constant=pytest.fail)
    assert Report.model_validate_json(text).model_dump_json() == text
    assert report.input.file_name == "a?.dcm"
    assert Report.model_validate_json(text).results.heart_rate_bpm is None
    assert report.input.damaged_frames == (3,)
    assert "smith" not in text


@pytest.fixture
def made_up_analysis():
    import numpy as np

    from echoseg.inference.analysis import Analysis
    from echoseg.measure.measurement import Measurement
    from echoseg.weights.card import ModelCard

    found = Measurement(
        frames=(), spacing_mm=None, ed_frame=None, es_frame=None, ef_percent=None,
        edv_ml=None, esv_ml=None, heart_rate_bpm=None, refusal="", warnings=(), notes=(),
    )  # fmt: skip
    frames = np.zeros((2, 4, 4), np.uint8)
    card = ModelCard(name="m", licence="Apache-2.0", architecture="mssnet", image_size=160)
    return Analysis(clip=Clip(frames=frames), masks=frames, measurement=found, model=card)
