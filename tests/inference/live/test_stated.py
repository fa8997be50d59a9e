"""Live on a file states what analyzing the same frames states, by what the file says of itself."""

import av
import numpy as np
import pytest

from clip_makers import (
    RATE_HZ,
    moving_frames,
    region,
    save_object,
    write_container,
    write_nifti,
    write_video,
)
from echoseg.clip import Clip, ClipWarning, View
from echoseg.inference.analyzer import Analyzer
from echoseg.inference.live.check import EfCheck
from echoseg.inference.live.run import LiveOptions, Run
from echoseg.inference.live.session import Session
from echoseg.inference.live.sources import ColourWatch, SourceOptions, open_source
from echoseg.io import load_clip
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.preprocess.sector import find_sector, sector_gain
from inference.live.stand_ins import GreySession

AS_FAST = {"paced": False}


def played(path, **options):
    return list(open_source(str(path), SourceOptions(**AS_FAST, **options)))


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer("camus", "cpu")


class Recorder:
    """The analyzer, and the clips that it assesses."""

    def __init__(self, analyzer):
        self._analyzer, self.clips = analyzer, []

    def __getattr__(self, name):
        return getattr(self._analyzer, name)

    def assess(self, clip, *rest):
        self.clips.append(clip)
        return self._analyzer.assess(clip, *rest)


@pytest.fixture(scope="module")
def frames():
    return Phantom(PhantomConfig(seed=3, size_px=96, num_frames=75, frame_rate_hz=RATE_HZ)).frames()


@pytest.mark.parametrize("delta_cm", [0.13, 0.03])
def test_a_file_has_the_ml_and_ef_of_analyze_or_the_same_reasons(
    tmp_path, analyzer, frames, delta_cm
):
    part = region(PhysicalDeltaX=delta_cm, PhysicalDeltaY=delta_cm,
                  RegionLocationMaxX1=95, RegionLocationMaxY1=95)  # fmt: skip
    save_object(tmp_path / "a.dcm", frames, FrameTime=1000 / RATE_HZ,
                SequenceOfUltrasoundRegions=[part])  # fmt: skip
    clip = load_clip(tmp_path / "a.dcm", view=View.A4C)
    sector, recorder = find_sector(clip), Recorder(analyzer)
    live = Session(
        analyzer.session, sector=sector, gain=sector_gain(clip, sector), check=EfCheck(recorder)
    )
    results = []
    for one in played(tmp_path / "a.dcm", view=View.A4C):
        live.describe(one.stated)
        results.append(live.push(one.frame, one.time_s))
    stated, whole = live.state_ef(is_last=True), analyzer.analyze(clip)
    depth = [one for one in whole.warnings if one.code == "implausible_depth"]
    assert bool(depth) == (delta_cm == 0.03)
    own = [frame.volume_ml for frame in whole.measurement.frames]
    assert [one.volume_ml is None for one in results] == [ml is None for ml in own]
    if not depth:
        assert [one.volume_ml for one in results] == pytest.approx(own, rel=0.01)
    assert all(one.volume_px3 for one in results) == bool(depth)
    checked = recorder.clips[-1]
    same = Clip(**{**vars(clip), "frames": checked.frames, "times_s": checked.times_s})
    masks = np.stack([one.mask for one in results])[: same.num_frames]
    expected = analyzer.assess(same, sector, masks, analyzer.score_view(same, sector))
    assert stated == expected.ef and stated.kind != "none"
    assert checked.warnings == clip.warnings and checked.spacing_mm == clip.spacing_mm


def test_what_the_user_says_comes_before_the_file(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", moving_frames(10))
    (one, *_, last) = played(tmp_path / "a.nii.gz")
    assert one.stated.spacing_mm == pytest.approx((0.5, 0.4)) and last.stated is one.stated
    assert one.stated.num_frames == 1 and one.stated.times_s is None
    (one, *_) = played(tmp_path / "a.nii.gz", spacing_mm=(0.3, 0.3), view=View.A2C)
    assert (one.stated.spacing_mm, one.stated.view) == ((0.3, 0.3), View.A2C)
    live = Session(GreySession(), spacing_mm=(0.2, 0.2))
    live.describe(Clip(frames=moving_frames(1), spacing_mm=(0.5, 0.4)))
    live.push(moving_frames(1)[0])
    assert live._stated.spacing_mm == (0.2, 0.2)


def test_warnings_and_view_of_the_source_reach_the_check():
    note = ClipWarning(code="colour_doppler", message="It is coloured.")
    live = Session(GreySession())
    live.describe(Clip(frames=moving_frames(1), warnings=(note,), view=View.A2C))
    live.push(moving_frames(1)[0])
    assert live._stated.warnings == (note,) and live._stated.view is View.A2C
    live.restart()
    live.push(moving_frames(1, 60, 80)[0])
    assert live._stated.warnings == ()


def test_no_ml_before_the_sector_and_its_depth_are_known():
    frames = Phantom(PhantomConfig(seed=3, size_px=96, num_frames=40, frame_rate_hz=25)).frames()
    live = Session(GreySession(), spacing_mm=(1.3, 1.3))
    results = [live.push(frame, index / 25) for index, frame in enumerate(frames)]
    assert live.sector is not None
    assert all(one.volume_ml is None for one in results[:25])
    heart = np.zeros((96, 96), np.uint8)
    heart[20:70, 30:60] = 1
    assert live._volume(heart)[1] > 50
    live.describe(Clip(frames=frames[:1], spacing_mm=(0.3, 0.3)))
    assert live._stated.spacing_mm == (1.3, 1.3)


def test_a_video_states_nothing_and_a_raw_stream_its_rate(tmp_path):
    write_video(tmp_path / "a.avi", moving_frames(5))
    assert {one.stated for one in played(tmp_path / "a.avi")} == {None}
    write_container(tmp_path / "a.h264", moving_frames(9), "libx264", "h264", rate_hz=20)
    times = [one.time_s for one in played(tmp_path / "a.h264")]
    assert times == pytest.approx(np.arange(9) / 20)
    assert times == pytest.approx(load_clip(tmp_path / "a.h264").times_s)


def test_a_folder_with_one_file_is_that_file(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", moving_frames(10))
    assert len(played(tmp_path)) == 10


def coloured(path, from_frame):
    """A lossless video with a box of changing colour from a frame on."""
    grey = np.repeat(moving_frames(80, 64, 96)[..., None], 3, 3)
    for index in range(from_frame, 80):
        grey[index, 20:45, 30:60] = [(220, 20, 20), (20, 20, 220)][index // 4 % 2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "bgr0"
        for frame in [*grey, None]:
            picture = None
            if frame is not None:
                picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="bgr0")
            container.mux(stream.encode(picture))
    return path


@pytest.mark.parametrize("from_frame", [0, 36])
def test_a_stream_that_turns_to_colour_doppler_says_so_once_and_has_no_trusted_ef(
    tmp_path, from_frame
):
    path = coloured(tmp_path / "a.mkv", from_frame)
    frames = played(path)
    said = [one.stated is not None for one in frames]
    assert said == [index >= from_frame + 35 for index in range(80)]
    session = Session(GreySession())
    status = Run(lambda: iter(frames), session, [], LiveOptions(drop=False)).follow()
    assert sum("colour" in problem for problem in status.problems) == 1
    assert [one.code for one in session._stated.warnings] == ["colour_doppler"]


def test_a_grey_stream_with_a_still_logo_is_no_colour_doppler():
    watch = ColourWatch()
    for frame in moving_frames(80, 64, 96):
        pixels = np.repeat(frame[..., None], 3, 2)
        pixels[:10, :20] = (250, 30, 30)
        assert watch.look_at(pixels) is None
