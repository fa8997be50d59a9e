"""Pictures of a made-up analysis: what is drawn where, and what is said where nothing can be."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image, ImageDraw, ImageFont

from echoseg.clip import Clip, Ecg
from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import EfStatement, state_ef
from echoseg.measure.measurement import FrameMeasurement, Measurement
from echoseg.report.figures import curve as curve_module
from echoseg.report.figures import overlay
from echoseg.report.figures.colours import CONTOURS, ED_COLOUR, ES_COLOUR
from echoseg.report.figures.curve_svg import curve_svg
from echoseg.report.figures.overlay import draw_contours, overlay_frames
from echoseg.report.figures.page import clip_content, page_html
from echoseg.report.schema import DISCLAIMER, build_report
from echoseg.weights.card import ModelCard

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
    card = ModelCard(
        name="made-up",
        sha256="0" * 64,
        licence="Apache-2.0",
        architecture="mssnet",
        image_size=160,
    )
    return Analysis(clip=clip, masks=masks, measurement=found, model=card)


_TEXT_ROWS = 80


def panel_of(frame):
    return frame[-overlay._Curve(made_up(), frame.shape[1]).height :]


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
    panels = [panel_of(frame)[_TEXT_ROWS:] for frame in overlay_frames(made_up())]
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
    assert rows - len(panel_of(frame)) >= 480
    assert columns >= 560
    assert colours == 3


def test_the_axis_says_millilitres_only_with_a_scale():
    assert overlay._Curve(made_up(), 560).scaled
    assert not overlay._Curve(made_up(spacing_mm=None), 560).scaled


def test_a_clip_of_one_frame_without_times_is_drawn():
    analysis = made_up(volumes=(50.0,), refusal="one frame only")
    analysis = replace(analysis, clip=replace(analysis.clip, times_s=None))
    assert len(list(overlay_frames(analysis))) == 1
    assert "<svg" in curve_svg(analysis)


@pytest.mark.parametrize("refusal", ["found on 0 of 5 frames", "a $broken$ _word^ " * 40])
def test_a_refusal_is_written_on_overlay_and_curve(refusal):
    analysis = made_up(volumes=(None,) * 5, refusal=refusal)
    panel = panel_of(next(overlay_frames(analysis)))
    assert has_colour(panel, ED_COLOUR)
    first = refusal.split()[0]
    assert first in curve_svg(analysis, alone=True)
    figure = curve_module.curve_figure(analysis)
    assert any(first in text.get_text() for text in figure.axes[0].texts)


def test_every_picture_says_it_is_for_research_only(monkeypatch):
    analysis = made_up()
    page = page_html(analysis, clip_content(analysis, build_report(analysis)))
    assert page.index(DISCLAIMER) < page.index("<main>")
    assert DISCLAIMER in curve_svg(analysis, alone=True)
    with_text = next(overlay_frames(analysis))
    monkeypatch.setattr(overlay, "DISCLAIMER", "")
    assert not np.array_equal(with_text, next(overlay_frames(analysis)))


def test_warnings_come_before_the_numbers():
    analysis = made_up(volumes=(None,) * 5, refusal="nothing <found>")
    page = page_html(analysis, clip_content(analysis, build_report(analysis)))
    assert page.index("No EF: nothing &lt;found&gt;") < page.index("Volume over time")


def test_letters_and_lines_grow_with_the_picture():
    small, large = (next(overlay_frames(made_up(size=size))) for size in ((480, 640), (960, 1280)))
    assert len(panel_of(large)) == 2 * len(panel_of(small))
    heights = []
    for frame in (small, large):
        # the badge's letters are the only near black on its yellow
        yellow = (frame == ED_COLOUR).all(-1).any(1)
        heights.append(int(yellow[: len(frame) // 2].sum()))
    assert heights[1] == pytest.approx(2 * heights[0], abs=3)
    inked = []
    for side in (640, 1280):
        picture = Image.new("RGB", (side, side))
        mask = np.zeros((64, 64), np.uint8)
        mask[16:48, 16:48] = 1
        draw_contours(picture, mask, side / 64)
        inked.append((np.asarray(picture)[side // 2].sum(-1) > 200).sum())
    assert inked[1] >= 1.6 * inked[0]


def test_nothing_but_contours_and_badge_is_written_over_the_picture():
    analysis = made_up(size=(480, 640))
    analysis = replace(analysis, masks=np.zeros_like(analysis.masks))
    pictures = [frame[:480] for frame in overlay_frames(analysis)]
    assert [bool(picture.any()) for picture in pictures] == [True, False, True, False, False]
    assert not pictures[0][60:].any()
    panel = panel_of(next(overlay_frames(analysis)))
    for name in CONTOURS:
        assert has_colour(panel[:30], CONTOURS[name][1])


def test_the_disclaimer_is_clear_of_a_browsers_controls(monkeypatch):
    analysis = made_up()
    with_text = panel_of(next(overlay_frames(analysis)))
    monkeypatch.setattr(overlay, "DISCLAIMER", "")
    changed = (with_text != panel_of(next(overlay_frames(analysis)))).any((1, 2)).nonzero()[0]
    assert len(with_text) - changed.max() > 150


def test_the_r_waves_of_the_file_are_drawn_at_their_times():
    plain = made_up()
    marked = replace(plain, clip=replace(plain.clip, r_wave_times_s=(0.05, 0.1)))
    axes = curve_module.curve_figure(marked).axes[0]
    assert [text.get_position()[0] for text in axes.texts if text.get_text() == "R"] == [0.05, 0.1]
    assert "R" not in [text.get_text() for text in curve_module.curve_figure(plain).axes[0].texts]
    pictures = [next(overlay_frames(one)) for one in (plain, marked)]
    changed = np.nonzero((pictures[0] != pictures[1]).any((0, 2)))[0]
    assert changed.size and np.ptp(changed) < pictures[0].shape[1]


SIZES = [(112, 112), (240, 320), (1080, 1920), (200, 800), (900, 60)]
LONG = " ".join(["Its expected error is 15 points, as the contour changes with the contrast."] * 9)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Stated(Analysis):
    """An analysis whose EF is stated as given."""

    statement: EfStatement

    @property
    def ef(self):
        return self.statement


def stated(size, statement, refusal=""):
    large = tuple(10 * volume for volume in VOLUMES_ML)
    plain = made_up(size=size, volumes=large, refusal=refusal)
    marks = {"ed_frame": 4, "es_frame": 0} if not refusal else {}
    plain = replace(plain, measurement=plain.measurement.model_copy(update=marks))
    known = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return Stated(**known, statement=statement)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("refusal", ["", LONG])
def test_every_text_of_the_overlay_is_inside_the_picture(monkeypatch, size, refusal):
    outside, texts, draw_text = [], [], ImageDraw.ImageDraw.text

    def note(self, place, text, *args, **options):
        if not args:  # as the overlay calls it
            known = {key: options[key] for key in ("font", "anchor", "align") if key in options}
            left, top, right, bottom = self.textbbox(place, text, **known)
            texts.append(text)
            if left < 0 or top < 0 or right > self.im.size[0] or bottom > self.im.size[1]:
                outside.append(text)
        draw_text(self, place, text, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    withheld = state_ef(55.0, reliable=False, reason=LONG)
    analysis = stated(size, state_ef(None, reason=LONG) if refusal else withheld, refusal)
    assert len(list(overlay_frames(analysis))) == len(VOLUMES_ML)
    assert not outside and any(text.endswith(" ...") for text in texts)
    assert {"1000", "0.00 s", DISCLAIMER} <= set(texts)


@pytest.mark.parametrize("refusal", ["", LONG])
def test_every_text_of_the_curve_is_inside_the_picture(refusal):
    withheld = state_ef(55.0, reliable=False, reason=LONG)
    analysis = stated(SIZES[0], state_ef(None, reason=LONG) if refusal else withheld, refusal)
    figure = curve_module.curve_figure(analysis)
    FigureCanvasAgg(figure).draw()
    canvas, axes = figure.bbox, figure.axes[0]
    ticks = {*axes.get_xticklabels(), *axes.get_yticklabels()}  # some are outside and not drawn
    for text in set(figure.findobj(Text)) - ticks:
        if text.get_text():
            box = text.get_window_extent()
            assert canvas.x0 <= box.x0 and box.x1 <= canvas.x1, text.get_text()
            assert canvas.y0 <= box.y0 and box.y1 <= canvas.y1, text.get_text()
    assert any(text.get_text().endswith(" ...") for text in figure.findobj(Text))


def test_a_reason_that_fits_is_written_whole():
    draw = ImageDraw.Draw(Image.new("RGB", (8, 8)))
    font = ImageFont.load_default(13)
    words = "one two three four five six seven"
    assert overlay._wrapped(draw, words, font, 999, 2) == [words]
    two = overlay._wrapped(draw, words, font, draw.textlength("one two three four ", font), 2)
    assert two == ["one two three four", "five six seven"]
    (cut,) = overlay._wrapped(draw, words, font, draw.textlength(words, font) - 1, 1)
    assert cut.endswith(" ...") and draw.textlength(cut, font) < draw.textlength(words, font)
    assert overlay._wrapped(draw, "", font, 99, 2) == []


def test_the_ecg_of_the_file_is_drawn_at_its_times_along_the_bottom():
    plain = made_up()
    times_s = np.linspace(-0.05, 0.3, 40)
    ecg = Ecg(times_s=times_s, values=np.sin(40 * times_s))
    axes, without = (
        curve_module.curve_figure(replace(plain, clip=replace(plain.clip, ecg=one))).axes[0]
        for one in (ecg, None)
    )
    (line,) = (line for line in axes.lines if line.get_label() == "ECG")
    assert np.array_equal(line.get_xdata(), times_s)
    heights = line.get_ydata()
    assert 0 < heights.min() < heights.max() < 0.2
    assert np.corrcoef(heights, ecg.values)[0, 1] == pytest.approx(1)
    assert axes.get_xlim() == without.get_xlim() and axes.get_ylim() == without.get_ylim()
