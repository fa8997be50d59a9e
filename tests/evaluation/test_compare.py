"""Two evaluations beside each other: paired by item, refused where they are not of one data set."""

import csv
import json
from dataclasses import fields

import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.errors import DatasetError
from echoseg.evaluation.compare import compare
from echoseg.evaluation.items import ClipRow, Item

COLUMNS = [field.name for field in fields(Item)]
CLIP_COLUMNS = [field.name for field in fields(ClipRow)]


def result(folder, dice, sha256="ab", frames=(0, 1), phases=(), efs=()):
    """Write a result folder with one structure: Dice and EF of each patient, on some frames."""
    named = dict(zip(frames, phases, strict=False))
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"data": {"sha256": sha256}}))
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for number, value in enumerate(dice):
            for frame in frames:
                about = {"clip": f"c{number}", "patient": f"p{number}", "frame": frame}
                about["phase"] = named.get(frame, "")
                scores = {"structure": "lv_endo", "dice": value, "asd": 1, "unit": "mm"}
                writer.writerow(about | scores)
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, CLIP_COLUMNS, restval="")
        writer.writeheader()
        for number, value in enumerate(efs):
            about = {"clip": f"c{number}", "patient": f"p{number}", "ef_reference": 50}
            writer.writerow(about | {"ef_predicted": value})
    return folder


def test_the_error_of_the_ef_is_compared_and_few_patients_are_said(tmp_path):
    a = result(tmp_path / "a", [0.8, 0.8, 0.8], efs=(60, 40, ""))
    b = result(tmp_path / "b", [0.8, 0.8, 0.8], efs=(44, 50, 50))
    comparison = compare(a, b)
    ef = comparison.differences[-1]
    assert (ef.structure, ef.metric, ef.unit) == ("EF", "|error|", "points")
    assert ef.n == ef.patients == 2
    assert (ef.a_mean, ef.b_mean, ef.difference) == (10, 3, -7)
    assert ef.p_value == comparison.smallest_p * 2 == 0.5
    done = CliRunner().invoke(app, ["compare", str(a), str(b)])
    assert "EF |error| points" in done.output
    assert "3 patients give no p under 0.25" in done.output


def test_efs_that_one_lost_are_counted_and_every_row_has_its_n(tmp_path):
    """Over the clips that both have, B is better, since it lost the clips where it is worse."""
    a = result(tmp_path / "a", [0.8] * 8, efs=("", *[53] * 7))
    b = result(tmp_path / "b", [0.8] * 8, efs=(51, 51, 51, *[""] * 5))
    comparison = compare(a, b)
    assert comparison.differences[-1].difference == -2
    assert (comparison.ef_lost_a, comparison.ef_lost_b) == (1, 5)
    done = CliRunner().invoke(app, ["compare", str(a), str(b), "-o", str(tmp_path / "c.json")])
    rows = {line[:12].strip(): line.split()[-1] for line in done.output.splitlines()}
    assert (rows["lv_endo dice"], rows["EF |error| p"]) == ("16", "2")
    assert "clips whose EF only A lost: 1, only B: 5" in done.output
    assert json.loads((tmp_path / "c.json").read_text())["ef_lost_b"] == 5


def test_a_constant_gain_is_found_with_its_interval(tmp_path):
    a = result(tmp_path / "a", [0.80, 0.85, 0.90, 0.95, 0.7, 0.75])
    b = result(tmp_path / "b", [0.82, 0.87, 0.92, 0.97, 0.72, 0.77])
    found = compare(a, b)
    dice, asd = found.differences
    assert (dice.structure, dice.metric, dice.n, dice.patients) == ("lv_endo", "dice", 12, 6)
    assert dice.difference == pytest.approx(0.02)
    assert dice.ci95 == pytest.approx((0.02, 0.02))
    assert dice.p_value == pytest.approx(2 / 2**6)  # all six patients better, exact
    assert (asd.unit, asd.difference, asd.p_value) == ("mm", 0, None)
    assert (found.only_a, found.only_b) == (0, 0)
    assert found.smallest_p == pytest.approx(2 / 2**6)


def test_items_that_one_lacks_are_counted(tmp_path):
    a = result(tmp_path / "a", [0.8, 0.9], frames=(0, 1, 2))
    b = result(tmp_path / "b", [0.8, 0.9, 0.7])
    found = compare(a, b)
    assert (found.only_a, found.only_b) == (2, 2)
    assert found.differences[0].n == 4


def test_where_phases_are_known_ed_and_es_alone_are_compared(tmp_path):
    """As `evaluate` does: its means and these are of the same frames."""
    a = result(tmp_path / "a", [0.8, 0.9], frames=(0, 1, 2), phases=("ED", "", "ES"))
    b = result(tmp_path / "b", [0.8, 0.9], frames=(0, 1, 2), phases=("ED", "", "ES"))
    found = compare(a, b)
    assert (found.frames, found.differences[0].n) == ("ED and ES", 4)
    done = CliRunner().invoke(app, ["compare", str(a), str(b)])
    assert done.output.startswith("ED and ES, 4 items, 2 patients\n")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.8", "high", "line 2: dice must be a number or empty, got 'high'"),
        ("0.9", "nan", "line 4: dice must be a number or empty, got 'nan'"),
        ("clip,", "clap,", "must have the columns clip, patient"),
        ("p0", "\xff", "cannot be read as a table"),
    ],
)
def test_a_table_that_was_changed_is_refused(tmp_path, old, new, words):
    a, b = result(tmp_path / "a", [0.8, 0.9]), result(tmp_path / "b", [0.8, 0.9])
    path = b / "items.csv"
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode("latin-1")))
    with pytest.raises(DatasetError, match=words):
        compare(a, b)


def test_other_data_and_other_folders_are_refused(tmp_path):
    a = result(tmp_path / "a", [0.8])
    b = result(tmp_path / "b", [0.8], sha256="cd")
    with pytest.raises(DatasetError, match="must be of the same data, their hashes differ"):
        compare(a, b)
    with pytest.raises(DatasetError, match="is not a result of `echoseg evaluate`"):
        compare(a, tmp_path)
    c = result(tmp_path / "c", [0.8], frames=(7,))
    with pytest.raises(DatasetError, match="must have items in common, they have none"):
        compare(a, c)


def test_the_command_prints_and_writes(tmp_path):
    a, b = result(tmp_path / "a", [0.8, 0.9]), result(tmp_path / "b", [0.9, 0.9])

    def run(*words):
        return CliRunner().invoke(app, ["compare", *map(str, words)])

    done = run(a, b, "-o", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    assert "lv_endo dice" in done.output
    told = json.loads((tmp_path / "found.json").read_text())
    assert told["differences"][0]["difference"] == pytest.approx(0.05)
    assert run(a, b, "-o", tmp_path / "found.json").exit_code == 2
    assert run(a, tmp_path / "none").exit_code == 2
