"""Sources of time in one DICOM object: the order, what is not a statement, and contradictions."""

import numpy as np
import pytest

from clip_makers import moving_frames, region, ultrasound
from echoseg.clip import Clip
from echoseg.errors import DamagedError
from echoseg.io import dicom_writer, load_clip

FRAME_TIME, VECTOR = 0x00181063, 0x00181065


def codes(clip):
    return {warning.code for warning in clip.warnings}


def clip_of(tmp_path, num_frames=6, *, fps=None, spacing_mm=None, **elements):
    dataset = ultrasound(moving_frames(num_frames), **elements)
    dataset.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    return load_clip(tmp_path / "clip.dcm", fps=fps, spacing_mm=spacing_mm)


@pytest.mark.parametrize(
    ("elements", "rate_hz"),
    [
        ({"FrameTime": 25, "FrameTimeVector": [0] + [50] * 5, "pointer": FRAME_TIME}, 40),
        ({"FrameTime": 25, "FrameTimeVector": [0] + [50] * 5, "pointer": VECTOR}, 20),
        ({"FrameTimeVector": [0] * 6, "CineRate": 40, "pointer": VECTOR}, 40),
        ({"FrameTimeVector": [20] * 5, "pointer": VECTOR}, 50),
        ({"FrameTimeVector": [20] * 3, "CineRate": 30}, 30),
        ({"FrameTimeVector": [20.0 * n for n in range(6)]}, 50),  # times, not steps
        ({"FrameTimeVector": [20.0 * n for n in range(1, 6)]}, 50),
        ({"FrameTimeVector": [500 + 20.0 * n for n in range(6)], "CineRate": 30}, 30),
        ({"FrameTime": 0, "RecommendedDisplayFrameRate": 25}, 25),
        ({"FrameTime": 0.1, "CineRate": 40}, 40),
        ({"FrameTime": 1, "CineRate": 40}, 40),
        ({"FrameTime": 1000, "CineRate": 40}, 40),
        ({"ActualFrameDuration": 20}, 50),
        ({"EffectiveDuration": 0.2}, 30),
    ],
)
def test_the_pointer_comes_first_and_a_useless_source_hides_no_later_one(
    tmp_path, elements, rate_hz
):
    pointer = elements.pop("pointer", None)
    clip = clip_of(tmp_path, **elements, **({"FrameIncrementPointer": pointer} if pointer else {}))
    assert clip.frame_rate_hz == pytest.approx(rate_hz)
    assert "assumed_frame_rate" not in codes(clip)


def test_sources_that_differ_are_told_with_both_values(tmp_path):
    clip = clip_of(tmp_path, FrameTime=25, CineRate=60, EffectiveDuration=0.1)
    (warning,) = (w for w in clip.warnings if w.code == "contradicted_frame_rate")
    assert "Frame Time (0018,1063) 40 fps (25 ms) is used" in warning.message
    assert "Cine Rate (0018,0040) 60 fps" in warning.message
    assert len(clip.decision("frame_rate_hz").contradictions) == 2
    same = clip_of(tmp_path, FrameTime=24.9, CineRate=40, RecommendedDisplayFrameRate=30)
    assert codes(same) == set()
    user = clip_of(tmp_path, fps=50, FrameTime=25, CineRate=60)
    assert (user.frame_rate_hz, codes(user)) == (pytest.approx(50), set())


@pytest.mark.parametrize("text", [b"25,0", b"fast", b"25\\40"])
def test_a_time_that_is_not_a_number_costs_no_pixels_and_the_user_heals_it(tmp_path, text):
    dataset = ultrasound(moving_frames(), FrameTime="11.11111")
    dataset.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    raw = (tmp_path / "clip.dcm").read_bytes()
    assert raw.count(b"11.11111") == 1
    (tmp_path / "clip.dcm").write_bytes(raw.replace(b"11.11111", text.ljust(8)))
    clip = load_clip(tmp_path / "clip.dcm")
    assert np.array_equal(clip.frames, moving_frames())
    (warning,) = clip.warnings
    assert warning.code == "assumed_frame_rate"
    shown = "a text" if text == b"fast" else text.decode().replace("\\", ", ")
    assert shown in warning.message and "fast" not in warning.message
    told = load_clip(tmp_path / "clip.dcm", fps=25)
    assert (told.frame_rate_hz, told.warnings) == (pytest.approx(25), ())


def test_r_waves_are_left_out_without_a_clock_and_kept_with_the_users(tmp_path):
    known = {"RWaveTimeVector": [40, 120], "FrameTime": 0}
    clip = clip_of(tmp_path, **known)
    assert clip.r_wave_times_s == ()
    assert "its R waves are not used" in clip.warnings[0].message
    assert clip_of(tmp_path, fps=25, **known).r_wave_times_s == pytest.approx((0.04, 0.12))


@pytest.mark.parametrize("fps", [None, 20])
def test_r_waves_and_times_move_with_the_first_intact_frame(tmp_path, fps):
    dataset = ultrasound(moving_frames(8), FrameTime=40, RWaveTimeVector=[160, 240])
    from pydicom.encaps import encapsulate, generate_frames
    from pydicom.uid import JPEG2000Lossless

    dataset.compress(JPEG2000Lossless)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=8))
    frames[0] = frames[1] = b"\0" * 20
    dataset.PixelData = encapsulate(frames)
    dataset.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    with pytest.raises(DamagedError, match=r"2 of 8 frames.*frame 0, 1\)"):
        load_clip(tmp_path / "clip.dcm")
    clip = load_clip(tmp_path / "clip.dcm", allow_damaged=True, fps=fps)
    shift_s = 2 / (fps or 25)
    assert clip.times_s[0] == 0
    assert clip.r_wave_times_s == pytest.approx((0.16 - shift_s, 0.24 - shift_s))


def test_r_waves_that_no_heart_has_are_not_used(tmp_path):
    clip = clip_of(tmp_path, FrameTime=25, RWaveTimeVector=[0.1, 0.9])  # in s, not ms
    assert clip.r_wave_times_s == ()
    (stated,) = clip.decision("heart_rate_bpm").statements
    assert stated.unused_because == "the rate of no heart"


def test_r_waves_are_in_the_order_of_time_and_each_is_one(tmp_path):
    clip = clip_of(tmp_path, FrameTime=25, RWaveTimeVector=[900, 100, 100])
    assert clip.r_wave_times_s == pytest.approx((0.1, 0.9))


def test_heart_rates_that_differ_are_told(tmp_path):
    clip = clip_of(tmp_path, FrameTime=25, RWaveTimeVector=[0, 1000], HeartRate=90)
    (warning,) = clip.warnings
    assert warning.code == "contradicted_heart_rate"
    assert "60 beats per minute" in warning.message and "90 beats per minute" in warning.message


def scaled(tmp_path, frames, *parts, spacing_mm=None, **elements):
    dataset = ultrasound(frames, FrameTime=40, SequenceOfUltrasoundRegions=list(parts), **elements)
    dataset.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    return load_clip(tmp_path / "clip.dcm", spacing_mm=spacing_mm)


@pytest.mark.parametrize("factor", [1.3, 1.5, 2, 0.5])
def test_a_region_of_the_picture_before_it_was_resized_is_a_stale_scale(tmp_path, factor):
    frames = moving_frames(6, round(48 * factor), round(64 * factor))
    clip = scaled(tmp_path, frames, region())
    assert (clip.spacing_mm, clip.sector_box) == (None, None)
    assert "stale_scale" in codes(clip)
    told = scaled(tmp_path, frames, region(), spacing_mm=(0.3, 0.3))
    assert (told.spacing_mm, codes(told)) == ((0.3, 0.3), set())


def test_a_maximum_counted_exclusively_and_a_second_region_are_no_contradiction(tmp_path):
    clip = scaled(tmp_path, moving_frames(), region(RegionLocationMaxX1=64, RegionLocationMaxY1=48))
    assert (clip.spacing_mm, clip.sector_box) == (pytest.approx((0.5, 0.4)), (0, 0, 48, 64))
    two = np.concatenate([moving_frames(), moving_frames()], 2)
    right = region(RegionLocationMinX0=64, RegionLocationMaxX1=127, PhysicalDeltaX=0.02)
    clip = scaled(tmp_path, two, region(), right)
    assert clip.spacing_mm == pytest.approx((0.5, 0.4))
    (note,) = clip.warnings
    assert note.code == "second_picture" and "(64,0)-(127,47)" in note.message


def test_two_scales_of_one_place_contradict(tmp_path):
    clip = scaled(tmp_path, moving_frames(), region(), region(PhysicalDeltaX=0.08))
    assert clip.spacing_mm is None
    (note,) = clip.warnings
    assert "0.5 x 0.4 mm" in note.message and "0.5 x 0.8 mm" in note.message
    assert scaled(tmp_path, moving_frames(), region(), region()).warnings == ()


def test_a_pixel_spacing_that_would_change_volumes_withholds_the_scale(tmp_path):
    clip = scaled(tmp_path, moving_frames(), region(), PixelSpacing=[0.6, 0.4])
    assert clip.spacing_mm is None
    (warning,) = clip.warnings
    assert warning.code == "contradicted_pixel_spacing"
    assert "0.5 x 0.4 mm" in warning.message and "0.6 x 0.4 mm" in warning.message
    near = scaled(tmp_path, moving_frames(), region(), PixelSpacing=[0.53, 0.4])
    assert near.spacing_mm == pytest.approx((0.5, 0.4))
    assert codes(near) == {"contradicted_pixel_spacing"}
    default = scaled(tmp_path, moving_frames(), region(), PixelSpacing=[1, 1])
    assert (default.spacing_mm, default.warnings) == (pytest.approx((0.5, 0.4)), ())
    alone = scaled(tmp_path, moving_frames(), PixelSpacing=[0.3, 0.3])
    assert (alone.spacing_mm, alone.warnings) == (None, ())


@pytest.mark.filterwarnings("ignore:The value for the data element:UserWarning")
def test_times_of_so_many_frames_that_they_are_written_as_unknown_bytes(tmp_path):
    """An element of over 64 KiB of DS has no length of its own; it is written as UN."""
    times_s = np.cumsum(np.random.default_rng(0).uniform(0.016, 0.018, 5000))
    frames = np.random.default_rng(1).integers(0, 255, (5000, 16, 16), np.uint8)
    dicom_writer.write(tmp_path / "a.dcm", Clip(frames=frames, times_s=times_s - times_s[0]))
    clip = load_clip(tmp_path / "a.dcm")
    assert clip.times_s == pytest.approx(times_s - times_s[0], abs=1e-6)
    assert "assumed_frame_rate" not in {one.code for one in clip.warnings}
