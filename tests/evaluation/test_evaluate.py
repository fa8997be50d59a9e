"""A checkpoint judged: answers known by construction, one table whatever the processes."""

import csv
import json
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clip_makers import write_video
from dataset_makers import SPACING_MM, made_clip, make_camus, make_camus_mhd, make_echonet_dynamic
from echoseg.cli import app
from echoseg.data import IssueKind, load_dataset
from echoseg.errors import ConfigError, DatasetError, EchosegError, ModelError, OutputError
from echoseg.evaluation import predictors
from echoseg.evaluation.items import Item
from echoseg.evaluation.report import html, markdown
from echoseg.evaluation.results import Source, document, write_results
from echoseg.evaluation.run import evaluate, phantom_records
from echoseg.evaluation.segment import segment
from echoseg.evaluation.summary import summarise
from echoseg.evaluation.tables import has_parquet, table_text, write_parquet
from echoseg.io.nifti import write_masks
from echoseg.models import UNet
from echoseg.models.checkpoint import load_model

STEP = 60  # grey levels between labels
SOURCE = Source(dataset="camus", title="CAMUS")


class Count(NamedTuple):
    number: torch.Tensor


class ByGrey(torch.nn.Module):
    """Label = grey / 60; `empty` answers background everywhere."""

    streams = True

    def __init__(self, empty=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.empty = empty

    def init_state(self, batch_size):
        return Count(torch.zeros(batch_size))

    def step(self, frame, state):
        label = (frame[:, 0] * 255 / STEP).floor().long().clamp(0, 3)
        label = label * 0 if self.empty else label
        return torch.nn.functional.one_hot(label, 4).permute(0, 3, 1, 2).float(), Count(
            state.number + 1
        )


@pytest.fixture
def by_grey(monkeypatch):
    """Let the network that reads labels off greys stand in for a checkpoint."""
    network = ByGrey()
    monkeypatch.setattr(predictors, "loaded", lambda model, device="cpu": (network, 64))
    return network


def test_one_who_knows_scores_one_on_every_structure(tmp_path, by_grey):
    """At the picture's own size nothing is interpolated: the answer is exact."""
    found = evaluate("camus", load_dataset(make_camus(tmp_path).root).records)
    told = summarise(found)
    assert list(told["structures"]) == ["lv_endo", "lv_epi", "la"]
    for scores in told["structures"].values():
        assert scores["dice"]["mean"] == scores["iou"]["mean"] == scores["dice_pooled"] == 1
        assert scores["hd95_mm"]["mean"] == scores["asd_mm"]["mean"] == 0
        assert scores["dice"]["ci95"] == (1, 1)
        assert (scores["dice"]["n"], scores["failure_rate"]) == (12, 0)
    assert told["frames"] == "ED and ES"
    assert told["every_frame"]["lv_endo"]["n"] == 30  # five frames in each half sequence
    assert told["ef"]["mae"] == 0
    assert told["ef"]["share_over_15"] == told["ef"]["n_failed"] == 0
    assert told["smoothness"]["jitter_excess_percent"]["mean"] == 0
    assert set(told["by"]["view"]) == {"A2C", "A4C"}
    assert set(told["by"]["phase"]) == {"ED", "ES"}
    assert set(told["by"]["quality"]) == {"Good"}
    by_view_and_phase = told["by"]["view_and_phase"]
    assert set(by_view_and_phase) == {"A2C ED", "A2C ES", "A4C ED", "A4C ES"}
    assert by_view_and_phase["A2C ES"]["lv_endo"]["area_ratio"]["mean"] == 1
    assert {view: ef["n"] for view, ef in told["ef_by"]["view"].items()} == {"A2C": 3, "A4C": 3}
    assert sum(ef["n"] for ef in told["ef_by"]["class"].values()) == told["ef"]["n"] == 6
    assert told["ef_classes"]["same_share"] == 1
    assert told["counts"] == {
        "clips": 6, "patients": 3, "items": 90, "one_empty": 0, "both_empty": 0, "not_judged": 0
    }  # fmt: skip


def test_one_who_sees_nothing_is_counted_at_the_pictures_diagonal(tmp_path, by_grey):
    by_grey.empty = True
    told = summarise(evaluate("camus", load_dataset(make_camus(tmp_path).root).records))
    scores = told["structures"]["lv_endo"]
    assert (scores["dice"]["mean"], scores["failure_rate"]) == (0, 1)
    assert scores["area_ratio"]["mean"] == 0
    assert scores["hd95_mm"]["mean"] == pytest.approx(np.hypot(63 * 0.4, 47 * 0.7))
    assert scores["one_empty"] == told["counts"]["one_empty"] / 3 * 12 / 30 == 12
    # nothing to agree; no clip is left unsaid
    assert told["ef"] == {"n": 0, "n_failed": 6, "share_over_15": 1}
    assert told["counts"]["clips"] == 6


def test_only_what_the_experts_drew_is_scored_and_in_pixels_without_a_scale(tmp_path, by_grey):
    found = evaluate("camus", load_dataset(make_echonet_dynamic(tmp_path).root).records)
    told = summarise(found)
    assert list(told["structures"]) == ["lv_endo"]
    assert {item.unit for item in found.items} == {"px"}
    assert "hd95_mm" not in told["structures"]["lv_endo"]
    assert told["structures"]["lv_endo"]["hd95_px"]["n"] == 6
    assert told["edv_ml"] == {}
    assert told["ef_given"]["n"] == 3
    assert all(row.jitter_reference_percent is None for row in found.clips)
    assert all(row.jitter_percent is not None for row in found.clips)


def test_stills_are_clips_of_their_own(by_grey):
    seen = []
    step = by_grey.step
    by_grey.step = lambda frame, state: (seen.append(int(state.number)), step(frame, state))[1]
    frames = made_clip()[0].frames[:2]
    for stills, expected in ((True, [0, 0]), (False, [0, 1])):
        segment(by_grey, 64, frames, stills=stills)
        assert seen[-2:] == expected


def test_one_table_whatever_processes_and_order(tmp_path):
    records = load_dataset(make_camus(tmp_path / "camus").root).records[:4]
    texts = []
    for chosen, jobs in ((records, 1), (records[::-1], 2)):
        found = evaluate("phantom", chosen, jobs=jobs)
        folder = tmp_path / f"result{jobs}"
        write_results(found, SOURCE, folder)
        files = ("items.csv", "clips.csv", "summary.json", "report.md", "figure.png")
        texts.append({name: (folder / name).read_bytes() for name in files})
    assert texts[0] == texts[1]
    assert torch.get_num_threads() >= 1


def test_threads_do_not_change_a_mask_and_are_given_back(tmp_path):
    from echoseg.evaluation.segment import loaded

    network, size = loaded("phantom")
    frames = made_clip()[0].frames[:2]
    before = torch.get_num_threads()
    masks = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            masks.append(segment(network, size, frames, stills=False))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*masks)


def test_a_broken_clip_is_counted_and_the_rest_goes_on(tmp_path, by_grey):
    records = load_dataset(make_camus(tmp_path).root).records
    records[0].files[0].write_bytes(b"\x1f\x8b")
    found = evaluate("camus", records)
    assert len(found.clips) == 5
    (problem,) = found.problems
    assert (problem.place, problem.kind) == (records[0].name, IssueKind.BROKEN)
    assert summarise(found)["counts"]["not_judged"] == 1


def test_data_without_masks_or_without_a_readable_clip_are_refused(tmp_path, by_grey):
    records = load_dataset(make_camus(tmp_path).root).records
    bare = [replace(record, labelled=False) for record in records]
    with pytest.raises(DatasetError, match="none of its 6 clips has one"):
        evaluate("camus", bare)
    for record in records:
        record.files[0].write_bytes(b"")
    with pytest.raises(DatasetError, match="none of the 6 clips can be evaluated, the first"):
        evaluate("camus", records)


def test_unlabelled_clips_beside_labelled_ones_are_not_judged(tmp_path, by_grey):
    found = evaluate("camus", load_dataset(make_camus_mhd(tmp_path).root).records)
    assert [row.clip for row in found.clips] == [
        "training_patient0001_2CH",
        "training_patient0001_4CH",
    ]
    assert {item.phase for item in found.items} == {"ED", "ES"}


def test_the_data_hash_is_of_what_was_read(tmp_path, by_grey):
    records = load_dataset(make_camus(tmp_path).root).records
    one = evaluate("camus", records).data_sha256
    assert evaluate("camus", records[::-1]).data_sha256 == one
    assert evaluate("camus", records[1:]).data_sha256 != one
    cfg = records[0].files[-1]
    cfg.write_text(cfg.read_text() + "More: 1\n")
    assert evaluate("camus", records).data_sha256 != one


def test_a_network_that_cannot_do_a_clip_is_told_and_does_not_change_the_data(
    tmp_path, by_grey, monkeypatch
):
    """Else two networks could not be compared on the same data."""
    records = load_dataset(make_camus(tmp_path).root).records
    whole = evaluate("camus", records)
    first = records[0].load()[0].frames

    def picky(network, image_size, frames, **options):
        if np.array_equal(frames, first):
            raise ModelError("the clip must have 64 frames, it has 2")
        return segment(network, image_size, frames, **options)

    monkeypatch.setattr(predictors, "segment", picky)
    found = evaluate("camus", records)
    assert found.data_sha256 == whole.data_sha256
    assert [row.clip for row in found.clips] == [row.clip for row in whole.clips[1:]]
    assert [problem.kind for problem in found.problems] == [IssueKind.INCONSISTENT]


def test_the_table_is_one_text_with_empty_fields_for_what_is_not_there():
    item = Item(
        clip="é,1", patient="p", view="A4C", split="", quality="", ef_band="", frame=0, phase="ED",
        structure="la", status="both_empty", dice=None, iou=None, hd=None, hd95=None, asd=None,
        unit="mm", predicted_px=0, reference_px=0, shared_px=0,
    )  # fmt: skip
    text = table_text([item, replace(item, dice=1 / 3, clip="b")], Item)
    rows = list(csv.DictReader(text.splitlines()))
    assert (rows[0]["clip"], rows[0]["dice"], rows[1]["dice"]) == ("é,1", "", "0.333333")


def test_the_phantom_is_filmed_when_loaded():
    records = phantom_records("test", ["easy", "hard"], hearts=2)
    assert [record.quality for record in records] == ["easy", "easy", "hard", "hard"] * 2
    assert [str(record.view) for record in records] == ["A4C", "A2C"] * 4
    assert len({record.patient for record in records}) == 2
    clip, known = records[0].load()
    assert clip.frames.shape == known.masks.shape == (48, 160, 160)
    for wrong in (("moon", (), None), ("test", ["silly"], None), ("test", (), 0)):
        with pytest.raises(EchosegError):
            phantom_records(*wrong)


def test_a_network_object_scores_as_its_checkpoint_does(tmp_path):
    records = load_dataset(make_camus(tmp_path).root).records[:2]
    network, _ = load_model("camus")
    by_name = evaluate("camus", records)
    by_object = evaluate(network, records)
    assert by_object.items == by_name.items
    assert by_object.data_sha256 == by_name.data_sha256


def test_corrupted_frames_are_noted_and_leave_the_data_the_same(tmp_path, by_grey):
    copy = make_camus(tmp_path / "camus")
    for name, words in (("clean", ()), ("corrupt", ("--corrupt", "0.9"))):
        assert command("camus", copy.root, *words, "-o", tmp_path / name).exit_code == 0
    clean, corrupt = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("clean", "corrupt")
    )
    assert corrupt["data"]["notes"][-1] == "frames were corrupted with probability 0.9"
    assert corrupt["data"]["sha256"] == clean["data"]["sha256"]
    means = [s["structures"]["lv_endo"]["dice"]["mean"] for s in (clean, corrupt)]
    assert means[0] == 1 > means[1]


def command(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def test_the_command_writes_a_whole_folder(tmp_path, by_grey):
    copy = make_camus(tmp_path / "camus")
    done = command("camus", copy.root, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "CAMUS, NIfTI release, test: 2 clips" in done.output
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told["data"]["split"] == "test"
    assert told["structures"]["lv_endo"]["hd95_mm"].keys() >= {"mean", "ci95", "n"}
    assert told["ef"].keys() >= {"mae", "bias", "sd", "r", "share_over_15"}
    assert len(told["model"]["sha256"]) == len(told["data"]["sha256"]) == 64
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The worst frames" in page
    assert "http:" not in page and "https:" not in page
    bare = command("camus", copy.root, "-o", tmp_path / "bare", "--no-pictures", "--split", "val")
    assert bare.exit_code == 0
    assert "The worst frames" not in (tmp_path / "bare" / "report.html").read_text()
    assert command("camus", copy.root, "-o", tmp_path / "out").exit_code == 2
    assert command("camus", copy.root, "-o", tmp_path / "out", "--force").exit_code == 0


def test_a_copy_with_one_view_stills_and_no_test_patients_is_judged_on_validation(
    tmp_path, by_grey
):
    copy = make_camus(tmp_path / "camus")
    for path in copy.root.rglob("*"):
        if "half" in path.name or "2CH" in path.name or path.suffix == ".cfg":
            path.unlink()
    for path in (copy.root / "database_nifti" / "patient0003").iterdir():
        path.unlink()
    (copy.root / "database_nifti" / "patient0003").rmdir()
    done = command("camus", copy.root, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "CAMUS, NIfTI release, validation: 1 clips, 6 items" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either the folder of a data set or --phantom TIER"),
        (("--phantom", "silly"), "tier must be one of easy, medium, hard, extreme, got 'silly'"),
        (("--phantom", "easy", "--split", "moon"), "split must be one of"),
        (("none", "--split", "test"), "none does not exist"),
        (
            ("phantom:4", "--split", "test"),
            "not a folder; to evaluate on simulated clips give --phantom TIER",
        ),
        (("none", "--hearts", "3"), "--hearts needs --phantom"),
        (("none", "--corrupt", "1.5"), "--corrupt must be a probability from 0 to 1, got 1.5"),
        (("--phantom", "easy", "--corrupt", "1.5"), "--corrupt must be a probability from 0 to 1"),
        (("none", "--jobs", "0"), "jobs must be at least 1, got 0"),
        (("none", "--device", "abacus"), "device must be auto, cpu, cuda or mps"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, words, said):
    done = command("camus", *words, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_odd_names_and_a_broken_clip_are_told_and_end_in_one(tmp_path, by_grey):
    folder = tmp_path / "Jörg <s> clips"
    folder.mkdir()
    for name in ("a b", "é"):
        clip, known = made_clip()
        write_video(folder / f"{name}.avi", clip.frames)
        write_masks(folder / f"{name}_masks.nii.gz", known.masks, SPACING_MM, 0.04)
    (folder / "é_masks.nii.gz").write_bytes(b"\x1f\x8b")
    done = command("camus", folder, "-o", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert done.output.count("broken:") == 1
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told["counts"]["not_judged"] == 1
    assert told["frames"] == "every frame with a mask"
    assert "not compared: it needs ed_frame and es_frame" in done.output


def test_ed_and_es_that_were_swapped_are_told(tmp_path, by_grey):
    clip, known = made_clip()
    write_video(tmp_path / "a.avi", clip.frames)
    write_masks(tmp_path / "a.nii.gz", known.masks, SPACING_MM, 0.04)
    areas = (known.masks == 1).sum((1, 2))
    for ed, es, code in ((areas.argmax(), areas.argmin(), 0), (areas.argmin(), areas.argmax(), 1)):
        table = f"clip,masks,ed_frame,es_frame\na.avi,a.nii.gz,{ed},{es}\n"
        (tmp_path / "clips.csv").write_text(table)
        out = tmp_path / f"out{code}"
        done = command("camus", tmp_path / "clips.csv", "-o", out)
        assert done.exit_code == code, done.output
        told = (
            "inconsistent: a.avi: its masks have a larger cavity at ES than at ED; check ed_frame"
        )
        assert (told in done.output) == (told in (out / "report.md").read_text()) == bool(code)


def test_a_folder_that_holds_other_things_is_not_replaced(tmp_path, by_grey):
    copy = make_camus(tmp_path / "camus")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    done = command("camus", copy.root, "-o", tmp_path / "out", "--force")
    assert done.exit_code == 2
    assert "holds no summary.json" in done.output
    assert (tmp_path / "out" / "thesis.txt").read_text() == "x"


def test_parquet_holds_the_same_items_or_says_what_it_needs(tmp_path, by_grey):
    found = evaluate("camus", load_dataset(make_echonet_dynamic(tmp_path / "copy").root).records)
    path = tmp_path / "items.parquet"
    if not has_parquet():
        with pytest.raises(OutputError, match=r"pip install 'echoseg\[parquet\]'"):
            write_parquet(path, found.items)
        return
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(path, found.items)
    assert parquet.read_table(path).to_pylist() == [asdict(item) for item in found.items]


def test_a_folder_a_data_set_and_its_records_give_the_same(tmp_path):
    root = make_camus(tmp_path).root
    dataset = load_dataset(root)
    of_records = evaluate("camus", dataset.split("test").records)
    network, _ = load_model("camus")
    assert evaluate("camus", root).items == of_records.items
    assert evaluate(network, dataset, split="test").items == of_records.items
    assert repr(of_records).startswith("Evaluation('camus', 2 clips: lv_endo Dice 0.")


def test_a_network_without_a_card_needs_its_image_size(tmp_path):
    with pytest.raises(ConfigError, match="image_size"):
        evaluate(UNet(), make_camus(tmp_path).root)
    evaluated = evaluate(UNet(), make_camus(tmp_path / "again").root, image_size=64)
    assert evaluated.model == "UNet" and evaluated.to_dict()["counts"]["clips"] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 64}, "image_size is that of the checkpoint"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"jobs": "2"}, "jobs must be at least 1"),
        ({"device": "foo"}, "device must be auto, cpu"),
    ],
)
def test_arguments_that_cannot_hold_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        evaluate("phantom", phantom_records("test", ("easy",), 1), **settings)


def test_data_that_is_none_is_a_type_error_and_a_device_may_be_auto():
    with pytest.raises(TypeError, match=r"takes as data .* got a NoneType"):
        evaluate("phantom", None)
    records = phantom_records("test", ("easy",), 1)[:1]
    assert evaluate("phantom", records, device="auto").clips


def test_the_report_begins_with_ef_and_points_at_failures(tmp_path, by_grey):
    found = evaluate("camus", load_dataset(make_camus(tmp_path / "a").root).records)
    text = markdown(document(found, SOURCE))
    assert text.index("EF against the experts' masks in 6 clips") < text.index("Mean Dice: LV endo")
    assert text.index("## Ejection fraction") < text.index("## By structure")
    assert text.index("## By structure") < text.index("Model sha256")
    assert "Failures:" not in text
    by_grey.empty = True
    found = evaluate("camus", load_dataset(make_camus(tmp_path / "b").root).records)
    text = markdown(document(found, SOURCE))
    assert "EF was not compared" in text
    assert "100.0 % of LV endo" in text and "6 clips without an EF" in text
    assert "class=caution>Failures" in html(document(found, SOURCE), b"", [])
