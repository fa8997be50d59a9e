"""Pictures of a made-up analysis: what is drawn where, and what is said where nothing can be."""

from dataclasses import replace
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from echoseg.analysis import Analysis, ModelCard
from echoseg.clip import Clip
from echoseg.measure.measurement import FrameMeasurement, Measurement
from echoseg.report import build_report
from echoseg.show import curve as curve_module
from echoseg.show import overlay
from echoseg.show.colours import CONTOURS, ED_COLOUR, ES_COLOUR
from echoseg.show.curve import curve_png
from echoseg.show.overlay import draw_contours, overlay_frames
from echoseg.show.page import page_html

VOLUMES_ML = (100.0, 70.0, 40.0, 60.0, 90.0)


def made_up(*, size=(60, 80), volumes=VOLUMES_ML, refusal="", spacing_mm=(1.0, 1.0)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = np.hypot(rows - size[0] / 2, columns - size[1] / 2)
    one = np.where(inside < 10, 1, np.where(inside < 16, 2, 0)).astype(np.uint8)
    masks = np.stack([one] * len(volumes))
    known = [volume for volume in volumes if volume is not None]
    frames = tuple(
        FrameMeasurement(
            frame_index=index, time_s=index / 20, lv_area_px=300, lv_area_cm2=None,
            lv_length_mm=None, relative_volume=None if v is None else v / max(known),
            volume_ml=v if spacing_mm else None,
        )
        for index, v in enumerate(volumes)
    )  # fmt: skip
    found = Measurement(
        frames=frames, spacing_mm=spacing_mm, ed_frame=None if refusal else 0,
        es_frame=None if refusal else 2, ef_percent=None if refusal else 60.0,
        edv_ml=None, esv_ml=None, heart_rate_bpm=None, refusal=refusal, warnings=(), notes=(),
    )  # fmt: skip
    clip = Clip(
        frames=np.zeros((len(volumes), *size), np.uint8),
        times_s=np.arange(len(volumes)) / 20,
        spacing_mm=spacing_mm,
    )
    card = ModelCard(name="made-up", sha256="0" * 64, licence="Apache-2.0", notice="")
    return Analysis(clip=clip, masks=masks, measurement=found, model=card)


def has_colour(picture, colour):
    return bool((np.asarray(picture) == colour).all(-1).any())


@pytest.mark.parametrize("zoom", [1.0, 2.5, 8.0])
def test_the_line_lies_on_the_edge_between_two_pixels(zoom):
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 12:28] = 1
    picture = Image.new("RGB", (int(40 * zoom), int(40 * zoom)))
    draw_contours(picture, mask, zoom)
    light = np.asarray(picture).sum(-1, dtype=float)
    middle_row, middle_column = light[int(20 * zoom)], light[:, int(20 * zoom)]
    for profile, (start, stop) in ((middle_row, (12, 28)), (middle_column, (10, 30))):
        half = len(profile) // 2
        places = np.arange(len(profile)) + 0.5
        first = np.average(places[:half], weights=profile[:half])
        last = np.average(places[half:], weights=profile[half:])
        assert first == pytest.approx(start * zoom, abs=0.5)
        assert last == pytest.approx(stop * zoom, abs=0.5)


def test_contours_are_anti_aliased():
    picture = Image.new("RGB", (200, 200))
    rows, columns = np.mgrid[:50, :50]
    draw_contours(picture, (np.hypot(rows - 25, columns - 25) < 15).astype(np.uint8), 4.0)
    shades = np.unique(np.asarray(picture).reshape(-1, 3), axis=0)
    assert len(shades) > 5


def test_a_mask_that_touches_the_picture_edge_is_drawn():
    picture = Image.new("RGB", (160, 160))
    draw_contours(picture, np.ones((20, 20), np.uint8), 8.0)
    assert np.asarray(picture).any()


def test_ed_and_es_frames_carry_their_badge_and_no_other_does():
    analysis = made_up()
    top = [frame[:60] for frame in overlay_frames(analysis)]
    assert [has_colour(part, ED_COLOUR) for part in top] == [True, False, False, False, False]
    assert [has_colour(part, ES_COLOUR) for part in top] == [False, False, True, False, False]


def test_the_curve_grows_with_time():
    panels = [frame[-overlay._CURVE_HEIGHT_PX :] for frame in overlay_frames(made_up())]
    orange = [(panel == CONTOURS["LV"][1]).all(-1).sum() for panel in panels]
    assert orange[0] == 0
    assert all(later > earlier for earlier, later in pairwise(orange))


def test_the_curve_is_broken_where_a_frame_has_no_volume():
    curve = overlay._Curve(made_up(volumes=(100.0, 90.0, None, 60.0, 70.0)), 560)
    assert [len(piece) for piece in curve.pieces(5)] == [2, 2]
    assert curve.point(2) is None


@pytest.mark.parametrize("size", [(112, 112), (60, 80), (240, 320), (900, 60), (61, 203)])
def test_a_picture_of_any_shape_is_large_enough_to_read(size):
    frame = next(overlay_frames(made_up(size=size)))
    rows, columns, colours = frame.shape
    assert rows - overlay._CURVE_HEIGHT_PX >= 480
    assert columns >= 560
    assert colours == 3


def test_the_axis_says_millilitres_only_with_a_scale():
    assert overlay._Curve(made_up(), 560).scaled
    assert not overlay._Curve(made_up(spacing_mm=None), 560).scaled


def test_a_clip_of_one_frame_without_times_is_drawn():
    analysis = made_up(volumes=(50.0,), refusal="one frame only")
    analysis = replace(analysis, clip=replace(analysis.clip, times_s=None))
    assert len(list(overlay_frames(analysis))) == 1
    assert curve_png(analysis)[:4] == b"\x89PNG"


@pytest.mark.parametrize("refusal", ["found on 0 of 5 frames", "a $broken$ _word^ " * 40])
def test_a_refusal_is_written_on_overlay_and_curve(refusal):
    analysis = made_up(volumes=(None,) * 5, refusal=refusal)
    panel = next(overlay_frames(analysis))[-overlay._CURVE_HEIGHT_PX :]
    assert has_colour(panel, ED_COLOUR)
    silent = curve_png(replace(analysis, measurement=replace(analysis.measurement, refusal="")))
    assert curve_png(analysis) != silent


def test_every_picture_says_it_is_for_research_only(monkeypatch):
    analysis = made_up()
    report = build_report(analysis, "0")
    page = page_html(analysis, report, b"", b"")
    assert page.index("Research use only, not a medical device") < page.index("<h1>")
    with_text = next(overlay_frames(analysis)), curve_png(analysis)
    for module in (overlay, curve_module):
        monkeypatch.setattr(module, "DISCLAIMER", "")
    without = next(overlay_frames(analysis)), curve_png(analysis)
    assert not np.array_equal(with_text[0], without[0])
    assert not np.array_equal(
        np.asarray(Image.open(BytesIO(with_text[1]))), np.asarray(Image.open(BytesIO(without[1])))
    )


def test_warnings_come_before_the_numbers():
    analysis = made_up(volumes=(None,) * 5, refusal="nothing <found>")
    page = page_html(analysis, build_report(analysis, "0"), b"", b"")
    assert page.index("No EF: nothing &lt;found&gt;") < page.index("<table>")
