"""The plugin in a real viewer with a real window: what goes in comes back, to the pixel."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import napari
import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

import echoseg.weights
from echoseg import analyze, load_clip
from echoseg.errors import EchosegError
from echoseg.inference.analysis import analyze_masks
from echoseg.io import load_masks
from echoseg.io.nifti import write_clip

SHIPPED = Path(echoseg.weights.__file__).with_name("simulated_a4c.dcm")
WAIT_S = 200
BOX = [[0, 1, 1], [0, 1, 9], [0, 9, 9], [0, 9, 1]]
"""Corners (frame, row, column)."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """No test may reach another machine."""
    connect = socket.socket.connect

    def local_only(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise OSError(f"no network in tests: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(scope="module")
def window():
    """A viewer on the screen, and the plugin's widget in it."""
    viewer = napari.Viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-echoseg")
    yield viewer, widget
    viewer.close()


@pytest.fixture(scope="module")
def expected():
    return analyze(SHIPPED)


@pytest.fixture(scope="module")
def analyzed(window):
    """The clip opened and analyzed in the window: image and labels layer."""
    viewer, widget = window
    (image,) = viewer.open(str(SHIPPED), plugin="napari-echoseg")
    widget.analyze.native.click()
    wait(widget)
    assert widget.result is not None, widget.text.value
    return image, widget.masks.value


@pytest.fixture
def bench(window, analyzed):
    """Viewer, widget, clip and masks; what a test changes is put back, what it adds removed."""
    viewer, widget = window
    image, labels = analyzed
    before = labels.data.copy()
    widget.clip.value, widget.masks.value = image, labels
    yield viewer, widget, image, labels
    labels.data = before
    widget.spacing_mm.value = widget.fps.value = ""
    widget.view.value = widget.view.choices[0]
    for layer in [one for one in viewer.layers if one not in (image, labels)]:
        viewer.layers.remove(layer)


def wait(widget):
    end = time.monotonic() + WAIT_S
    while widget.is_running:
        assert time.monotonic() < end, "the run did not end"
        QApplication.processEvents()
        time.sleep(0.01)


def measured(widget):
    widget.measure.native.click()
    wait(widget)
    return widget.result


def saved(viewer, layer, path):
    return viewer.layers.__class__([layer]).save(str(path), plugin="napari-echoseg")


def test_the_manifest_is_valid():
    manifest = PluginManifest.from_distribution("napari-echoseg")
    manifest.validate_imports()
    assert {one.id for one in manifest.contributions.commands} == {
        f"napari-echoseg.{name}" for name in ("get_reader", "write_masks", "sample", "widget")
    }


def test_a_clip_is_analyzed_as_by_the_library(bench, expected):
    _, widget, image, labels = bench
    clip = load_clip(SHIPPED)
    assert np.array_equal(image.data, clip.frames)
    assert np.allclose(image.scale, (1, *clip.spacing_mm))
    assert [str(unit) for unit in image.units] == ["pixel", "millimeter", "millimeter"]
    assert np.array_equal(labels.data, expected.masks)
    result = measured(widget)
    assert result.measurement == expected.measurement
    assert result.ef == expected.ef and result.ef.interval is not None
    for text in (expected.ef.text, "90 % interval", "End-diastolic volume", "not a medical device"):
        assert text in widget.text.value.replace("\u00a0", " ")


def test_nifti_and_the_sample_open(bench, tmp_path):
    viewer = bench[0]
    write_clip(tmp_path / "clip.nii.gz", load_clip(SHIPPED))
    (layer,) = viewer.open(str(tmp_path / "clip.nii.gz"), plugin="napari-echoseg")
    assert np.array_equal(layer.data, load_clip(SHIPPED).frames)
    assert "echoseg" in layer.metadata
    (layer,) = viewer.open_sample("napari-echoseg", "simulated")
    assert layer.metadata["echoseg"].view == "A4C"


def test_painted_masks_come_back_and_give_the_ef_of_the_library_and_the_command(
    bench, expected, tmp_path
):
    viewer, widget, _, labels = bench
    es_frame = expected.measurement.es_frame
    rows, columns = np.nonzero(labels.data[es_frame] == 1)
    labels.selected_label, labels.brush_size = 0, 11
    labels.paint((es_frame, rows.max() - 4, int(columns.mean())), 0)
    painted = np.asarray(labels.data).copy()
    assert (painted != expected.masks).any()
    result = measured(widget)
    own = analyze_masks(load_clip(SHIPPED), painted.astype(np.uint8), corrected=True)
    assert result.measurement == own.measurement
    assert result.ef_percent != expected.ef_percent
    assert result.ef.interval is None and "Corrected by reader." in widget.text.value

    (path,) = saved(viewer, labels, tmp_path / "masks.nii.gz")
    assert np.array_equal(load_masks(path)[1], painted)
    widget.save_result(tmp_path / "result")
    wait(widget)
    ours = json.loads((tmp_path / "result/report.json").read_text("utf-8"))
    command = [sys.executable, "-m", "echoseg", "measure", path, "--clip", str(SHIPPED)]
    # NIfTI's header holds a spacing of 4 bytes, the clip one of 8
    command += ["--spacing-mm", *map(repr, load_clip(SHIPPED).spacing_mm)]
    command += ["--corrected", "-o", str(tmp_path / "command")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    theirs = json.loads((tmp_path / "command/report.json").read_text("utf-8"))
    assert ours["results"] == theirs["results"] and ours["notes"] == theirs["notes"]

    (again,) = viewer.open(str(tmp_path / "result"), plugin="napari-echoseg")
    assert np.array_equal(again.data, result.masks)
    widget.masks.value = again
    assert "Corrected by reader." in (measured(widget), widget.text.value)[1]


def test_contours_come_back_and_move_only_what_was_moved(bench, expected):
    _, widget, _, labels = bench
    widget.contours.native.click()
    shapes = widget.masks.value
    assert shapes is not labels and len(shapes.data) == 3 * len(labels.data)
    assert measured(widget).measurement == expected.measurement  # nothing was moved
    es_frame = expected.measurement.es_frame
    names = list(shapes.features["structure"])
    index = next(
        i for i, points in enumerate(shapes.data)
        if points[0, 0] == es_frame and names[i] == "LV cavity"
    )  # fmt: skip
    polygons = [points.copy() for points in shapes.data]
    middle = polygons[index][:, 1:].mean(0)
    polygons[index][:, 1:] = middle + 0.8 * (polygons[index][:, 1:] - middle)
    shapes.data = polygons
    result = measured(widget)
    changed = [
        i
        for i, (a, b) in enumerate(zip(result.masks, expected.masks, strict=True))
        if (a != b).any()
    ]
    assert changed == [es_frame]
    areas = [np.count_nonzero(masks[es_frame] == 1) for masks in (result.masks, expected.masks)]
    assert areas[0] / areas[1] == pytest.approx(0.64, abs=0.03)
    own = analyze_masks(load_clip(SHIPPED), result.masks, corrected=True)
    assert result.measurement == own.measurement and result.ef_percent > expected.ef_percent

    shapes.selected_data = {index}
    shapes.remove_selected()
    without = measured(widget)
    assert not (without.masks[es_frame] == 1).any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.add_ellipses(BOX), "must be polygons, one is of the type ellipse"),
        (lambda s: s.add_polygons(s.data[1] + [0, 3, 3]), "must have one contour of the LV cavity"),
        (lambda s: s.add_polygons([[0, 1, 1], [1, 1, 9], [0, 9, 9]]), "must lie on one frame"),
        (lambda s: s.add_polygons([[900, 1, 1], [900, 1, 9], [900, 9, 9]]), "on one frame, 0 to"),
    ],
)  # fmt: skip
def test_contours_that_mean_nothing_are_refused(bench, change, text):
    _, widget, *_ = bench
    widget.contours.native.click()
    change(widget.masks.value)
    assert measured(widget) is None
    assert text in widget.text.value


def test_files_that_are_no_clips_are_refused_in_a_sentence(bench, tmp_path):
    viewer = bench[0]
    whole = SHIPPED.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.avi").write_bytes(b"")
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "report.json").write_text("{}")
    for name in ("cut.dcm", "empty.avi", "result"):
        with pytest.raises(EchosegError) as error:
            viewer.open(str(tmp_path / name), plugin="napari-echoseg")
        assert len(str(error.value)) < 600 and "\n" not in str(error.value)


def test_masks_that_do_not_fit_are_refused(bench, expected):
    viewer, widget, _, labels = bench
    for data, text in (
        (expected.masks[:, 4:], "masks must have the clip's shape"),
        (expected.masks[3:], "masks must have the clip's shape"),
        (expected.masks[0], "masks must have the clip's shape"),
        (expected.masks.astype(int) + 256, "must be 0 background, 1 LV cavity"),
        (expected.masks.astype(int) - 1, "must be 0 background, 1 LV cavity"),
    ):
        widget.masks.value = viewer.add_labels(data)
        assert measured(widget) is None
        assert text in widget.text.value
        assert not widget.save.enabled
    labels.data = labels.data * 0
    widget.masks.value = labels
    assert measured(widget).ef_percent is None
    assert "No EF" in widget.text.value


def test_masks_of_another_clip_are_refused(bench, tmp_path):
    viewer, widget, *_ = bench
    write_clip(tmp_path / "other.nii.gz", load_clip(SHIPPED))
    (widget.clip.value,) = viewer.open(str(tmp_path / "other.nii.gz"), plugin="napari-echoseg")
    assert measured(widget) is None
    assert "must be of the clip that is chosen" in widget.text.value


def test_what_the_user_states_is_checked_and_used(bench, expected):
    viewer, widget, image, _ = bench
    for field, value, text in (
        (widget.fps, "fast", "frames per s must be numbers"),
        (widget.spacing_mm, "1 2 3", "takes one number or two"),
        (widget.fps, "-4", "fps"),
    ):
        field.value = value
        assert measured(widget) is None
        assert text in widget.text.value
        field.value = ""
    widget.spacing_mm.value = "0.6"
    stated = measured(widget)
    own = analyze_masks(load_clip(SHIPPED, spacing_mm=(0.6, 0.6)), expected.masks)
    assert stated.measurement == own.measurement
    plain = viewer.add_image(image.data, name="no scale")
    widget.clip.value, widget.spacing_mm.value = plain, ""
    widget.masks.value = viewer.add_labels(expected.masks.copy())
    assert measured(widget).edv_ml is None


def test_a_cancelled_run_adds_nothing(bench):
    viewer, widget, *_ = bench
    before = list(viewer.layers)
    widget.analyze.native.click()
    assert widget.cancel.enabled and not widget.analyze.enabled
    widget.cancel.native.click()
    wait(widget)
    assert list(viewer.layers) == before
    assert widget.text.value == "Cancelled." and widget.result is None
    assert widget.analyze.enabled and not widget.save.enabled


def test_a_result_replaces_no_folder(bench, tmp_path):
    _, widget, *_ = bench
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    measured(widget)
    widget.save_result(tmp_path / "mine")
    wait(widget)
    assert "mine" in widget.text.value and "Written" not in widget.text.value
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["note.txt"]


def test_napari_that_is_closed_during_a_run_ends_without_a_crash():
    code = f"""
import napari
viewer = napari.Viewer(show=True)
_, widget = viewer.window.add_plugin_dock_widget("napari-echoseg")
viewer.open({str(SHIPPED)!r}, plugin="napari-echoseg")
widget.analyze.native.click()
assert widget.is_running
viewer.close()
napari.run()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    assert "Error" not in run.stderr, run.stderr
