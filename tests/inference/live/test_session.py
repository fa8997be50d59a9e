"""A session gives what the whole clip gives, forgets on a cut, and never grows."""

import tracemalloc
from threading import Event
from time import sleep

import numpy as np
import pytest

from echoseg.errors import ArgumentError, EchosegError
from echoseg.inference.live import session as session_module
from echoseg.inference.live.beats import ROLLING_BEATS, RunningBeats
from echoseg.inference.live.check import NOT_CHECKED
from echoseg.inference.live.latency import LatencyHistogram
from echoseg.inference.live.scene_change import CUT, MOVE, SceneChangeDetector
from echoseg.inference.live.session import Session
from echoseg.measure.measure import measure_masks
from echoseg.preprocess.sector import Sector
from heart_makers import beating
from inference.live.stand_ins import GreySession, painted

WHOLE = Sector(mask=np.ones((150, 150), bool), box=(0, 0, 150, 150))


def session(**known):
    return Session(GreySession(), frame_rate_hz=40.0, sector=WHOLE, **known)


def test_masks_and_volumes_are_those_of_the_frames():
    masks, times, true_ml = beating(20)
    live = session(spacing_mm=(1.0, 1.0))
    for frame, time_s, mask, volume_ml in zip(painted(masks), times, masks, true_ml, strict=True):
        reading = live.push(frame, time_s)
        assert np.array_equal(reading.mask, mask)
        assert reading.volume_ml == pytest.approx(volume_ml, rel=0.05)


def test_the_rolling_ef_is_that_of_the_whole_clip():
    masks, times, _ = beating(160)
    live = session(spacing_mm=(1.0, 1.0))
    readings = [live.push(*pair) for pair in zip(painted(masks), times, strict=True)]
    whole = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    assert readings[10].ef.kind == "none"
    assert readings[-1].num_beats >= 3
    withheld = readings[-1].ef
    assert (withheld.kind, withheld.ef_percent, withheld.reason) == (
        "unreliable",
        None,
        NOT_CHECKED,
    )
    assert withheld.unreliable_percent == pytest.approx(whole.ef_percent, abs=1.0)
    assert readings[-1].beat.es_time_s == pytest.approx(60 / 80 * 4 + 0.375, abs=0.05)
    counts = [reading.num_beats for reading in readings]
    assert counts == sorted(counts)


def test_without_a_scale_there_is_an_ef_and_no_millilitres():
    masks, _, _ = beating(120)
    live = session()
    readings = [live.push(frame) for frame in painted(masks)]
    assert readings[-1].ef.unreliable_percent and readings[-1].volume_ml is None
    with_scale = session(spacing_mm=(1.0, 1.0)).push(painted(masks)[-1])
    assert readings[-1].volume_px3 == pytest.approx(1000 * with_scale.volume_ml)
    assert with_scale.volume_px3 is None
    assert readings[-1].time_s == pytest.approx(119 / 40)


def test_a_scale_that_cannot_be_gives_no_millilitres():
    masks, _, _ = beating(2)
    reading = session(spacing_mm=(0.1, 0.1)).push(painted(masks)[0])
    assert reading.volume_ml is None and reading.volume_px3 > 0


def test_a_frame_without_a_cavity_has_no_volume():
    reading = session().push(np.zeros((150, 150), np.uint8))
    assert reading.volume_px3 is None and not reading.mask.any()


@pytest.mark.parametrize(
    ("frame", "time_s", "message"),
    [
        (np.zeros((150, 149), np.uint8), None, "150 x 150 pixels of the session's first, got 150"),
        (np.zeros((150, 150), np.float32), None, "uint8"),
        (np.zeros((150, 150, 3), np.uint8), None, r"\(H, W\) uint8"),
        (np.zeros((15, 150), np.uint8), None, "sides of 16 to 8192 pixels, got 15 x 150"),
        ([[0]], None, "got list"),
        (None, None, "got NoneType"),
        (np.zeros((150, 150), np.uint8), 0.0, "later than the last"),
        (np.zeros((150, 150), np.uint8), np.inf, "time_s must be a finite number of seconds"),
        (np.zeros((150, 150), np.uint8), np.nan, "time_s must be a finite number of seconds"),
        (np.zeros((150, 150), np.uint8), "a", "time_s must be a finite number of seconds, got 'a'"),
    ],
)
def test_what_is_no_next_frame_is_refused_and_changes_nothing(frame, time_s, message):
    live = session()
    live.push(np.zeros((150, 150), np.uint8), 0.0)
    with pytest.raises(ArgumentError, match=message):
        live.push(frame, time_s)
    assert live.push(np.zeros((150, 150), np.uint8), 0.1).frame_index == 1


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"spacing_mm": (-1, 1)}, "spacing_mm.* must be two lengths"),
        ({"spacing_mm": (np.nan, 1.0)}, "must be two lengths"),
        ({"spacing_mm": (0, 0)}, "must be two lengths"),
        ({"spacing_mm": (1.0,)}, "must be two lengths"),
        ({"spacing_mm": 0.3}, "must be two lengths"),
        ({"spacing_mm": "ab"}, "must be two lengths"),
        ({"frame_rate_hz": np.inf}, "must be 1 to 10000"),
        ({"frame_rate_hz": "fast"}, "must be 1 to 10000"),
        ({"gain": np.nan}, "gain must be a positive number"),
        ({"gain": -1}, "gain must be a positive number"),
    ],
)
def test_a_session_of_what_cannot_be_is_refused(known, message):
    with pytest.raises(EchosegError, match=message):
        Session(GreySession(), **known)


def test_a_sector_of_another_size_is_refused_at_the_first_frame():
    with pytest.raises(ArgumentError, match="150 x 150 pixels of the sector given, got 60 x 80"):
        session().push(np.zeros((60, 80), np.uint8))


def test_a_reset_is_told_with_the_next_frame():
    live = session()
    live.push(np.zeros((150, 150), np.uint8))
    live.reset("reconnected")
    told = [live.push(np.zeros((150, 150), np.uint8)).reset for _ in range(2)]
    assert told == ["reconnected", ""]


def test_another_size_is_taken_after_a_restart():
    live = Session(GreySession())
    live.push(np.zeros((150, 150), np.uint8))
    live.restart()
    assert live.push(np.zeros((60, 80), np.uint8)).mask.shape == (60, 80)


def test_the_times_of_a_reopened_source_may_begin_anew():
    live, frame = Session(GreySession(), frame_rate_hz=50), np.zeros((150, 150), np.uint8)
    for time_s in (10.0, 10.02):
        live.push(frame, time_s)
    live.restart()
    first = live.push(frame, 0.0)
    assert (first.time_s, first.frame_index, first.reset) == (0.0, 2, "restart")
    assert live.push(frame).time_s == pytest.approx(0.02)
    live.restart()
    assert live.push(frame).time_s == 0.0
    live.reset("reconnected")
    with pytest.raises(ArgumentError, match="later than the last"):
        live.push(frame, 0.0)


def scenes():
    rng = np.random.default_rng(0)
    smooth = [np.kron(rng.integers(20, 255, (10, 10)), np.ones((15, 15))) for _ in range(2)]
    return [
        [np.clip(one + rng.normal(0, 4, one.shape), 0, 255).astype(np.uint8) for _ in range(50)]
        for one in smooth
    ]


def test_a_cut_is_seen_in_three_frames_and_begins_all_anew():
    one, other = scenes()
    live = session()
    starts = live.network.starts
    readings = [live.push(frame) for frame in [*one, *other]]
    assert [(r.frame_index, r.reset) for r in readings if r.reset] == [(52, CUT)]
    assert readings[-1].num_beats == 0
    assert live.num_resets == 1 and live.network.starts == starts + 2  # first frame, cut


def test_a_slow_move_of_the_probe_is_seen():
    (one, _), watch = scenes(), SceneChangeDetector(0.02)
    moving = [np.roll(one[0], 2 * step, 1) for step in range(60)]
    found = [watch.watch(frame) for frame in [*one, *moving]]
    assert MOVE in found or CUT in found
    assert not any(found[:50])


def test_single_black_noisy_or_bright_frames_are_no_cut():
    one, _ = scenes()
    one[20] = np.zeros_like(one[20])
    one[30] = np.random.default_rng(1).integers(0, 255, one[30].shape).astype(np.uint8)
    one[40] = (one[40] // 4).astype(np.uint8)
    watch = SceneChangeDetector(0.02)
    assert not any(watch.watch(frame) for frame in one)


def test_hours_need_no_more_memory_than_minutes():
    masks, _, _ = beating(60)
    live, frames = session(), painted(masks)
    sizes = []
    tracemalloc.start()
    try:
        for turn in range(12):
            for frame in frames:
                live.push(frame)
            if turn >= 8:  # eight seconds fill the window
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) - sizes[0] < 40_000


def test_beats_of_an_exact_curve_are_counted_once():
    beats = RunningBeats()
    for number in range(40 * 30):
        time_s = number / 40
        beats.push(time_s, 100 - 25 * (1 - np.cos(2 * np.pi * time_s)))
    assert beats.num_beats in (28, 29)
    assert beats.ef_percent == pytest.approx(50, abs=1.5)
    assert len(beats.finished) == ROLLING_BEATS
    ends = [beat.es_time_s for beat in beats.finished]
    assert np.diff(ends) == pytest.approx(1.0, abs=0.03)


def one_a_second(beats, begin_s, end_s):
    for number in range(40 * begin_s, 40 * end_s):
        beats.push(number / 40, 100 - 25 * (1 - np.cos(2 * np.pi * number / 40)))


@pytest.mark.parametrize("gap_s", [0, 100])
def test_an_ef_does_not_outlive_its_heart(gap_s):
    beats = RunningBeats()
    one_a_second(beats, 0, 10)
    counted = beats.num_beats
    if not gap_s:
        for number in range(400, 400 + 40 * 4):
            beats.push(number / 40, None)
        assert beats.ef_percent == pytest.approx(50, abs=1.5)
    for number in range(400 + 40 * (4 + gap_s), 400 + 40 * (7 + gap_s)):
        beats.push(number / 40, None)
    assert beats.ef_percent is None and not beats.finished
    assert beats.num_beats in (counted, counted + 1)
    one_a_second(beats, 17 + gap_s, 22 + gap_s)
    assert beats.ef_percent == pytest.approx(50, abs=1.5)
    assert beats.finished[0].ed_time_s > 16 + gap_s


def test_no_beat_is_read_across_a_gap():
    beats = RunningBeats()
    one_a_second(beats, 0, 4)
    one_a_second(beats, 6, 10)
    lasted = [beat.end_time_s - beat.ed_time_s for beat in beats.finished]
    assert lasted == pytest.approx([1.0] * len(lasted), abs=0.1) and len(lasted) >= 4


@pytest.mark.parametrize("volume", [None, 80.0])
def test_what_does_not_beat_has_no_beats(volume):
    beats = RunningBeats()
    for number in range(400):
        beats.push(number / 40, volume)
    assert beats.num_beats == 0 and beats.ef_percent is None


def test_quantiles_are_right_to_two_percent():
    latencies = LatencyHistogram()
    values = np.random.default_rng(0).lognormal(-4, 0.5, 5000)
    for value in values:
        latencies.add(float(value))
    for share in (0.5, 0.95, 0.99):
        assert latencies.quantile_s(share) == pytest.approx(np.quantile(values, share), rel=0.025)
    assert latencies.number == 5000
    assert LatencyHistogram().quantile_s(0.5) is None


def test_a_session_finds_the_sector_and_segments_as_the_analyzer_does():
    from echoseg.clip import Clip
    from echoseg.inference.analyzer import Analyzer
    from echoseg.inference.backends.torch import TorchSession
    from echoseg.phantom import Phantom, PhantomConfig
    from echoseg.preprocess.sector import find_sector, sector_gain

    frames = Phantom(PhantomConfig(seed=1, size_px=96, num_frames=50, frame_rate_hz=40)).frames()
    clip = Clip(frames=frames, times_s=np.arange(50) / 40)
    analyzer = Analyzer("phantom", "cpu")
    network = TorchSession(analyzer.network, analyzer.model_card.image_size)
    sector = find_sector(clip)
    told = Session(network, sector=sector, gain=sector_gain(clip, sector))
    masks = analyzer.analyze(clip).masks
    assert (
        np.mean([(told.push(f).mask == m).mean() for f, m in zip(frames, masks, strict=True)])
        > 0.9999
    )
    found = Session(network, frame_rate_hz=40)
    late = [found.push(frame).mask for frame in frames][45:]
    cavity = [(a == 1, b == 1) for a, b in zip(late, masks[45:], strict=True)]
    assert all(2 * (a & b).sum() / (a.sum() + b.sum()) > 0.9 for a, b in cavity)


def begun(monkeypatch, waits):
    """A session whose search for the sector waits for the event."""
    free = Event()

    def search(clip):
        assert free.wait(30)
        return WHOLE

    monkeypatch.setattr("echoseg.inference.live.session.find_sector", search)
    session = Session(GreySession(), frame_rate_hz=8.0)
    session.waits = waits
    return session, free


def pushed_until_found(session, frame):
    for _ in range(300):
        session.push(frame)
        if session.sector is not None:
            return True
        sleep(0.01)
    return False


def test_no_frame_of_a_live_run_waits_while_the_sector_is_found(monkeypatch):
    session, free = begun(monkeypatch, waits=False)
    frame = painted(beating(1)[0])[0]
    for _ in range(30):
        session.push(frame)
    assert session.sector is None and session.latencies.number == 30
    free.set()
    assert pushed_until_found(session, frame)
    assert session.network.starts == 3  # checked once, whole picture, sector


def test_a_sector_that_was_looked_for_before_a_cut_is_not_taken(monkeypatch):
    session, free = begun(monkeypatch, waits=False)
    frame = painted(beating(1)[0])[0]
    for _ in range(12):
        session.push(frame)
    session.reset("cut")
    free.set()
    for _ in range(8):  # under a second of frames: nothing new is looked for
        session.push(frame)
        sleep(0.02)
    assert session.sector is None
    assert pushed_until_found(session, frame)


def test_a_session_that_waits_has_the_sector_with_the_same_frame_each_time(monkeypatch):
    session, free = begun(monkeypatch, waits=True)
    free.set()
    frame = painted(beating(1)[0])[0]
    found = [session.push(frame) and session.sector is not None for _ in range(12)]
    assert found == [False] * 8 + [True] * 4


def test_searches_that_a_reset_replaces_are_not_made(monkeypatch):
    session, free = begun(monkeypatch, waits=False)
    search, made = session_module.find_sector, []
    monkeypatch.setattr(session_module, "find_sector", lambda clip: made.append(1) or search(clip))
    frame = painted(beating(1)[0])[0]
    for _ in range(5):
        for _ in range(9):
            session.push(frame)
        session.reset("cut")
    free.set()
    assert pushed_until_found(session, frame)
    assert len(made) <= 2  # one that had begun before its reset, and the last
