"""A live EF is what analyzing the last seconds states; it is withheld where they do not suffice."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from echoseg.clip import Clip, View
from echoseg.errors import MeasurementError
from echoseg.inference.analyzer import Analyzer
from echoseg.inference.ef_statement import state_ef
from echoseg.inference.live import check
from echoseg.inference.live.check import MIRRORED, WINDOW_S, EfCheck
from echoseg.inference.live.session import NO_BEAT, Session
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.preprocess.sector import Sector, find_sector, sector_gain
from heart_makers import beating
from inference.live.stand_ins import GreySession, painted

STATED = state_ef(55.0)
WHOLE = Sector(mask=np.ones((150, 150), bool), box=(0, 0, 150, 150))


class StandIn:
    """An analyzer whose answers are given; keeps the clips it gets."""

    def __init__(self, ef=STATED, is_mirrored=False, no_ef_because=""):
        self.model_card = SimpleNamespace(ef_unsupported_because=no_ef_because)
        self.analysis = SimpleNamespace(ef=ef, ef_percent=ef.ef_percent)
        self.view, self.clips = SimpleNamespace(is_mirrored=is_mirrored), []

    def score_view(self, clip, sector):
        return self.view

    def assess(self, clip, sector, masks, view):
        assert masks.shape == clip.frames.shape
        self.clips.append(clip)
        return self.analysis


def session(analyzer, spacing_mm=None, **known):
    return Session(
        GreySession(),
        spacing_mm=spacing_mm,
        frame_rate_hz=40.0,
        sector=WHOLE,
        check=EfCheck(analyzer, **known),
    )


def pushed(live, num_frames):
    masks, times, _ = beating(num_frames)
    return [live.push(*pair) for pair in zip(painted(masks), times, strict=True)]


def test_nothing_is_stated_before_the_check_and_its_statement_after():
    analyzer = StandIn()
    live = session(analyzer, view=View.A4C, spacing_mm=(1.0, 1.0))
    readings = pushed(live, 300)
    first = next(one for one in readings if one.num_beats)
    assert all(one.ef.kind == "none" for one in readings[: first.frame_index])
    assert {one.ef.ef_percent for one in readings} <= {None, 55.0}
    assert live.state_ef(is_last=True) == state_ef(55.0)
    clip = analyzer.clips[-1]
    assert (clip.view, clip.spacing_mm, clip.times_s[0]) == (View.A4C, (1.0, 1.0), 0)
    assert 0.5 * WINDOW_S < clip.times_s[-1] <= WINDOW_S and clip.num_frames <= 30 * WINDOW_S + 1


def test_the_last_beats_are_checked_at_the_end_and_no_beat_twice():
    analyzer = StandIn()
    live = session(analyzer)
    pushed(live, 160)
    live.state_ef(is_last=True)
    checks = len(analyzer.clips)
    assert live.state_ef(is_last=True).value == "55 %" and len(analyzer.clips) == checks


def test_frames_are_copied_in_the_thread_of_the_check_and_never_in_the_loop(monkeypatch):
    names = []

    def stack(parts):
        names.append(threading.current_thread().name)
        return np.stack(parts)

    monkeypatch.setattr(check, "np", SimpleNamespace(stack=stack))
    live = session(StandIn())
    pushed(live, 160)
    assert live.state_ef(is_last=True).value == "55 %"
    assert names and all(name.startswith("ef-check") for name in names)


@pytest.mark.parametrize(
    ("analyzer", "reason"),
    [
        (StandIn(is_mirrored=True), MIRRORED),
        (StandIn(state_ef(55.0, reliable=False, reason="It trembles.")), "It trembles."),
    ],
)
def test_an_ef_is_withheld_with_the_reason(analyzer, reason):
    live = session(analyzer)
    pushed(live, 160)
    ef = live.state_ef(is_last=True)
    assert (ef.kind, ef.ef_percent, ef.unreliable_percent) == ("unreliable", None, 55.0)
    assert ef.reason.startswith(reason)


def test_a_part_of_a_beat_stays_one():
    live = session(StandIn(state_ef(55.0, is_part_of_beat=True)))
    pushed(live, 160)
    assert live.state_ef(is_last=True).kind == "part_of_beat"


def test_what_cannot_be_analyzed_has_no_ef(monkeypatch):
    def refuse(*args):
        raise MeasurementError("no heart")

    analyzer = StandIn()
    monkeypatch.setattr(analyzer, "assess", refuse)
    live = session(analyzer)
    pushed(live, 160)
    assert live.state_ef(is_last=True) == state_ef(None, reason="no heart")


def test_a_model_without_an_ef_says_so_from_the_first_frame():
    analyzer = StandIn(no_ef_because="It segments only.")
    readings = pushed(session(analyzer), 160)
    assert {one.ef.reason for one in readings} == {"It segments only."} and not analyzer.clips


def test_a_reset_forgets_the_statement():
    live = session(StandIn())
    pushed(live, 160)
    assert live.state_ef(is_last=True).value
    live.reset()
    assert live.state_ef(is_last=True) == state_ef(None, reason=NO_BEAT)


def test_it_is_the_statement_of_the_analyzer():
    config = PhantomConfig(seed=3, size_px=96, num_frames=90, frame_rate_hz=30)
    frames = Phantom(config).frames()
    clip = Clip(frames=frames, times_s=np.arange(90) / 30, view=View.A4C, spacing_mm=(1.0, 1.0))
    analyzer = Analyzer("camus", "cpu")
    sector = find_sector(clip)
    live = Session(
        analyzer.session,
        spacing_mm=clip.spacing_mm,
        sector=sector,
        gain=sector_gain(clip, sector),
        check=EfCheck(analyzer, view=View.A4C),
    )
    for frame, time_s in zip(frames, clip.times_s, strict=True):
        live.push(frame, time_s)
    analysis = analyzer.analyze(clip)
    assert analysis.measurement.ef_percent is not None
    ef = live.state_ef(is_last=True)
    assert ef.kind == analysis.ef.kind
    numbers = [one.ef_percent or one.unreliable_percent for one in (ef, analysis.ef)]
    assert numbers[0] == pytest.approx(numbers[1], abs=5)  # fewer frames may lie in the window
