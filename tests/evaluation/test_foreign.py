"""Masks of other tools and networks in ONNX files: exact answers, matching of names, refusals."""

import json
import warnings
from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dataset_makers import make_camus
from echoseg import evaluate
from echoseg.cli import app
from echoseg.clip import Label
from echoseg.data import load_dataset
from echoseg.errors import ConfigError, DatasetError, ModelError
from echoseg.evaluation.onnx_network import OnnxAdapter, OnnxNetwork
from echoseg.evaluation.predictions import PredictionFolder
from echoseg.evaluation.tiles import by_tiles

SIZE, STEP = (64, 48), 60  # of the made clips in pixels, and grey levels between their labels
EXACT = {"lv_endo": 1, "lv_epi": 1, "la": 1}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = make_camus(tmp_path_factory.mktemp("camus")).root
    return load_dataset(root).records[:2]


def save(path, masks):
    """Masks `T H W` as NIfTI (x, y, t)."""
    path.parent.mkdir(exist_ok=True, parents=True)
    nib.save(nib.Nifti1Image(masks.transpose(2, 1, 0), np.eye(4)), path)


def dice(evaluation):
    return {name: s["dice"]["mean"] for name, s in evaluation.summary["structures"].items()}


def onnx(path, layers, channels=1, size=SIZE):
    class Net(torch.nn.Module):
        def forward(self, image):
            return layers(image)

    return export(Net(), torch.zeros(1, channels, *size), path)


def export(network, image, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter
        torch.onnx.export(network, (image,), path, dynamo=True, verbose=False)
    return path


def by_grey(image):
    """Scores of four labels whose highest is grey / 60: exact on the made clips."""
    label = torch.arange(4).view(1, 4, 1, 1)
    return -((image[:, :1] * 255 / STEP - label) ** 2)


# masks of another tool
def test_the_experts_own_masks_score_one(tmp_path, records):
    for record in records:
        save(tmp_path / f"{record.name}.nii.gz", record.load()[1].masks)
    result = evaluate(PredictionFolder(tmp_path), records)
    assert dice(result) == EXACT
    assert result.summary["ef"]["mae"] == 0
    assert all(row.jitter_percent is not None for row in result.clips)


def test_stills_of_ed_and_es_are_enough_and_say_nothing_of_the_frames_between(tmp_path, records):
    for record in records:
        annotation = record.load()[1]
        for phase, frame in (("ED", annotation.ed_frame), ("ES", annotation.es_frame)):
            save(tmp_path / "sub" / f"{record.name}_{phase}_pred.nii", annotation.masks[[frame]])
    result = evaluate(PredictionFolder(tmp_path), records)
    assert dice(result) == EXACT
    assert all(row.jitter_percent is None for row in result.clips)
    assert {item.phase for item in result.items} == {"ED", "ES"}


def test_a_result_folder_of_analyze_is_read(tmp_path, records):
    record = records[0]
    save(tmp_path / record.name / "masks.nii.gz", record.load()[1].masks)
    assert dice(evaluate(PredictionFolder(tmp_path), [record])) == EXACT


@pytest.mark.parametrize(
    ("clip", "file"),
    [
        ("heart.avi", "heart.nii.gz"),
        ("heart.nii.gz", "heart_pred.nii.gz"),
        ("site/heart.DCM", "site_heart/masks.nii.gz"),
        ("1.2.840.5", "1.2.840.5.nii.gz"),
        ("heart.avi", "heart_{phase}.nii.gz"),
    ],
)
def test_a_clip_that_is_a_file_is_found_without_its_suffix(tmp_path, records, clip, file):
    record = replace(records[0], name=clip)
    annotation = record.load()[1]
    for frame, phase in ((annotation.ed_frame, "ED"), (annotation.es_frame, "ES")):
        frames = [frame] if "{" in file else slice(None)
        save(tmp_path / file.format(phase=phase), annotation.masks[frames])
    assert dice(evaluate(PredictionFolder(tmp_path), [record])) == EXACT


def test_what_is_no_suffix_is_part_of_the_name(tmp_path, records):
    save(tmp_path / "1.2.840.nii.gz", records[0].load()[1].masks)
    with pytest.raises(DatasetError, match=r"must hold its masks as 1\.2\.840\.5\.nii\.gz"):
        evaluate(PredictionFolder(tmp_path), [replace(records[0], name="1.2.840.5")])


def test_segmentations_of_slicer_are_predictions(tmp_path, records):
    from echoseg.io.slicer import write_segmentation

    record = records[0]
    write_segmentation(tmp_path / f"{record.name}.seg.nrrd", record.load()[1].masks, None)
    assert dice(evaluate(PredictionFolder(tmp_path), [record])) == EXACT


def test_a_tool_of_the_cavity_alone_is_scored_on_the_cavity_alone(tmp_path, records):
    for record in records:
        save(tmp_path / f"{record.name}.nii.gz", (record.load()[1].masks == 1).astype(np.uint8))
    result = evaluate(PredictionFolder(tmp_path), records)
    assert dice(result) == {"lv_endo": 1}
    assert result.notes == (f"{tmp_path.name} gives no label 2 and 3: la, lv_epi not scored",)


def test_missing_masks_of_one_clip_are_listed_and_fail(tmp_path, records):
    save(tmp_path / f"{records[0].name}.nii.gz", records[0].load()[1].masks)
    result = evaluate(PredictionFolder(tmp_path), records)
    (problem,) = result.problems
    assert problem.place == records[1].name and "must hold its masks" in problem.reason
    assert result.summary["counts"]["not_judged"] == 1


@pytest.mark.parametrize("masked", ["every frame", "a frame between ED and ES"])
def test_missing_masks_fail_where_no_ed_or_es_has_a_mask(tmp_path, records, masked):
    def read(record):
        clip, annotation = record.load()
        if masked == "every frame":
            return clip, replace(annotation, ed_frame=None, es_frame=None)
        frames = range(annotation.ed_frame + 1, annotation.es_frame)
        return clip, replace(annotation, labelled_frames=(frames[0],))

    given, stills = (replace(r, read=partial(read, r)) for r in records)
    save(tmp_path / f"{given.name}.nii.gz", given.load()[1].masks)
    for phase in ("ED", "ES"):
        save(tmp_path / f"{stills.name}_{phase}.nii.gz", stills.load()[1].masks[:1])
    result = evaluate(PredictionFolder(tmp_path), [given, stills])
    (problem,) = result.problems
    assert problem.place == stills.name and "neither its ED nor its ES" in problem.reason
    assert [row.clip for row in result.clips] == [given.name]


def test_masks_of_another_grid_or_number_are_refused_by_name(tmp_path, records):
    record = records[0]
    masks = record.load()[1].masks
    for wrong, words in (
        (masks[:, :, :-4], r"masks must have the clip's grid of \d+ x \d+ pixels"),
        (masks.transpose(0, 2, 1)[:, :-2], "resample"),
        (masks[:-1], "masks must have . frames as the clip"),
        (masks + 9, "masks may hold only 0 background"),
    ):
        save(tmp_path / f"{record.name}.nii.gz", wrong)
        with pytest.raises(DatasetError, match=words):
            evaluate(PredictionFolder(tmp_path), [record])


def test_a_picture_beside_its_masks_is_not_taken_for_them(tmp_path, records):
    clip, annotation = records[0].load()
    save(tmp_path / f"{records[0].name}.nii.gz", clip.frames)
    save(tmp_path / f"{records[0].name}_seg.nii.gz", annotation.masks)
    with pytest.raises(DatasetError, match=r"\.nii\.gz and .*_seg\.nii\.gz; keep the masks alone"):
        evaluate(PredictionFolder(tmp_path), records[:1])


def test_two_files_of_one_clip_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="must be a folder of masks"):
        PredictionFolder(tmp_path / "none")
    with pytest.raises(DatasetError, match="must hold masks"):
        PredictionFolder(tmp_path)
    for suffix in ("nii", "nii.gz"):
        save(tmp_path / f"a.{suffix}", np.ones((1, 8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r"got a\.nii and a\.nii\.gz for a"):
        PredictionFolder(tmp_path)


# ONNX networks
@pytest.fixture(scope="module")
def greys(tmp_path_factory):
    return onnx(tmp_path_factory.mktemp("onnx") / "greys.onnx", by_grey)


def test_a_network_that_reads_labels_off_greys_scores_one(greys, records):
    result = evaluate(str(greys), records)
    assert result.model == "greys.onnx"
    assert dice(result) == EXACT
    assert result.predictor.about()["image_size"] == max(SIZE)


@pytest.mark.parametrize(
    ("layers", "channels", "fields"),
    [
        (lambda x: by_grey(x + 0.5), 1, {"values": "-1..1", "std": [2.0]}),
        (lambda x: by_grey(x / 255), 3, {"values": "0..255"}),
        (lambda x: by_grey(x).flip(1), 1, {"labels": [3, 2, 1, 0]}),
        (lambda x: by_grey(x).argmax(1), 1, {}),
        (lambda x: by_grey(x).argmax(1, keepdim=True).int(), 1, {}),
        (lambda x: by_grey(x * 0.5 + 0.5), 1, {"mean": [0.5], "std": [0.5]}),
    ],
)
def test_the_adapter_undoes_what_the_network_expects(tmp_path, records, layers, channels, fields):
    path = onnx(tmp_path / "net.onnx", layers, channels)
    (tmp_path / "net.json").write_text(json.dumps(fields))
    assert dice(evaluate(path, records)) == EXACT


def test_letterbox_keeps_the_aspect_ratio(tmp_path, records):
    path = onnx(tmp_path / "square.onnx", by_grey, size=(max(SIZE), max(SIZE)))
    assert dice(evaluate(OnnxNetwork(path, OnnxAdapter(resize="letterbox")), records)) == EXACT
    assert dice(evaluate(path, records)) != EXACT  # stretched


# as nnU-Net feeds a network
@pytest.fixture(scope="module", params=[(32, 32), (64, 48), (96, 112)])
def patch(request, tmp_path_factory):
    """`by_grey` of a patch that is smaller than, as large as, or larger than the frames."""
    return onnx(tmp_path_factory.mktemp("onnx") / "patch.onnx", by_grey, size=request.param)


def test_tiles_of_a_frame_at_the_spacing_of_the_training_are_exact(patch, records):
    clip, annotation = records[0].load()
    clip = replace(clip, spacing_mm=(0.5, 0.5))
    network = OnnxNetwork(patch, OnnxAdapter(spacing_mm=0.5))
    masks = network.predict(records[0], clip, annotation).masks
    assert np.array_equal(masks, annotation.masks)


def test_another_spacing_costs_little(patch, records):
    network = OnnxNetwork(patch, OnnxAdapter(spacing_mm=0.35))
    assert all(score > 0.9 for score in dice(evaluate(network, records)).values())
    assert "resampled to 0.35 mm, in tiles of" in network.protocol["input"]


def test_black_margins_are_background_and_change_nothing(patch, records):
    clip, annotation = records[0].load()
    margins = ((0, 0), (5, 9), (14, 2))
    black = replace(clip, frames=np.pad(clip.frames + 1, margins), spacing_mm=(0.4, 0.4))
    bare = replace(clip, frames=clip.frames + 1, spacing_mm=(0.4, 0.4))
    network = OnnxNetwork(patch, OnnxAdapter(spacing_mm=0.5, values="z_score"))
    masks, inner = (network.predict(records[0], c, annotation).masks for c in (black, bare))
    assert np.array_equal(masks, np.pad(inner, margins))
    assert not network.predict(records[0], replace(bare, frames=0 * bare.frames), annotation)[
        0
    ].any()


@pytest.mark.parametrize("patch", [(112, 128), (64, 64), (200, 30)])
def test_tiles_cover_a_frame_and_give_what_they_are_given(patch):
    tiles, values = [], np.random.default_rng(0).random((2, 100, 150), np.float32)

    def run(tile):
        tiles.append(tile.shape)
        return tile

    assert by_tiles(run, values, patch) == pytest.approx(values, abs=1e-5)
    assert set(tiles) == {(2, *patch)}
    assert len(tiles) == {(112, 128): 2, (64, 64): 12, (200, 30): 9}[patch]


def test_a_spacing_that_cannot_be_used_is_refused(patch, records):
    with pytest.raises(ValueError, match="exclude each other"):
        OnnxAdapter(spacing_mm=0.5, resize="letterbox")
    clip, annotation = records[0].load()
    for spacing_mm, words in ((None, "known pixel spacing"), ((0.05, 0.05), "6 x 5 pixels")):
        with pytest.raises(ModelError, match=words):
            OnnxNetwork(patch, OnnxAdapter(spacing_mm=0.5)).predict(
                records[0], replace(clip, spacing_mm=spacing_mm), annotation
            )


def test_channels_at_the_end_are_found(tmp_path, records):
    class Last(torch.nn.Module):
        def forward(self, image):
            return by_grey(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    path = export(Last(), torch.zeros(1, *SIZE, 1), tmp_path / "last.onnx")
    assert dice(evaluate(path, records)) == EXACT


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_one_channel_is_the_cavity_above_its_threshold(tmp_path, records, shift):
    def cavity(image):
        return 1.0 - (image[:, :1] * 255 / STEP - 1).abs() * 2 + shift

    network = OnnxNetwork(
        onnx(tmp_path / "cavity.onnx", cavity), OnnxAdapter(labels=(1,), threshold=shift)
    )
    assert network.labels == (Label.BACKGROUND, Label.LV_CAVITY)
    assert dice(evaluate(network, records)) == {"lv_endo": 1}


def test_another_size_costs_little(tmp_path, records):
    path = onnx(tmp_path / "large.onnx", by_grey, size=(128, 128))
    scores = dice(evaluate(path, records))
    assert all(score > 0.88 for score in scores.values())  # .894 to .907 by the clips' noise


def test_two_processes_give_the_same_table(greys, records):
    one, two = (evaluate(OnnxNetwork(greys), records, jobs=jobs) for jobs in (1, 2))
    assert one.items == two.items and one.clips == two.clips


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": [1]}, "threshold must be given"),
        ({"labels": [0]}, "labels must hold one of 1, 2 and 3"),
        ({"labels": [0, 1, 7, 3]}, "labels"),
        (
            {"color": 1},
            "there is no field color; known are .*labels.*; see docs/guides/evaluate.md",
        ),
        ({"lables": [0, 1]}, "there is no field lables; did you mean labels?"),
        ({"std": [0]}, "std"),
        ({"image_size": [32, 32]}, "image_size of the adapter must be that of the file"),
        ({"mean": [0.1, 0.2]}, "mean of the adapter must have 1 values, got 2"),
        ({"output": "none"}, "output of the adapter must be one of"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(greys, tmp_path, fields, words):
    path = tmp_path / "net.onnx"
    path.write_bytes(greys.read_bytes())
    path.with_suffix(".json").write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match=words):
        OnnxNetwork(path)


def test_files_that_are_no_network_of_single_frames_are_refused(tmp_path, greys, records):
    broken = tmp_path / "broken.onnx"
    for content in (b"onnx?", b""):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match=r"as ONNX \(the file is empty, or no ONNX network\)"):
            OnnxNetwork(broken)
    with pytest.raises(ModelError, match="must be an existing"):
        OnnxNetwork(tmp_path / "none.onnx")
    five = onnx(tmp_path / "five.onnx", lambda x: torch.cat([by_grey(x), x], 1))
    with pytest.raises(DatasetError, match="must be 4 channels of finite scores"):
        evaluate(five, records)
    nan = onnx(tmp_path / "nan.onnx", lambda x: by_grey(x) / (x.sum() * 0))
    with pytest.raises(DatasetError, match="must be 4 channels of finite scores"):
        evaluate(nan, records)


def test_image_size_is_refused_beside_a_file(greys, records):
    with pytest.raises(ConfigError, match="image_size is that of the checkpoint"):
        evaluate(str(greys), records, image_size=64)
    with pytest.raises(TypeError, match="or a predictor"):
        evaluate(replace, records)


# the command
def test_the_command_takes_a_folder_of_masks_or_an_onnx_file(tmp_path, greys):
    data = make_camus(tmp_path / "camus").root
    for record in load_dataset(data).records:
        save(tmp_path / "masks" / f"{record.name}.nii.gz", record.load()[1].masks)
    adapter = tmp_path / "adapter.json"
    adapter.write_text('{"labels": [0, 1, 2, 3]}')
    for number, given in enumerate(
        (
            ["--predictions", str(tmp_path / "masks"), str(data)],
            [str(greys), str(data), "--adapter", str(adapter)],
        )
    ):
        out = tmp_path / f"out{number}"
        run = CliRunner().invoke(app, ["evaluate", *given, "--split", "all", "-o", str(out)])
        assert run.exit_code == 0, run.output
        assert "lv_endo  Dice 1.0000" in run.output
        document = json.loads((out / "summary.json").read_text())
        assert len(document["model"]["sha256"]) == 64
        assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "give either a model or --predictions"),
        (["camus", "DATA", "--predictions", "."], "give either a model or --predictions"),
        (["camus", "DATA", "--adapter", "a.json"], "--adapter needs an .onnx file"),
    ],
)
def test_unclear_commands_are_refused(given, words):
    run = CliRunner().invoke(app, ["evaluate", *given])
    assert run.exit_code == 2 and words in " ".join(run.output.split())
