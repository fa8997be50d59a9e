"""A study: which clips are of one heart, and which A4C and A2C of them are used, and why."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from echoseg.clip import View
from echoseg.inference.analysis import Analysis
from echoseg.io.clip_header import ClipHeader, read_clip_header
from echoseg.private import Pseudonyms
from echoseg.report.biplane import view_of_name
from echoseg.report.cohort import find_clips
from echoseg.report.writer import free_names

TABLE = "study.csv"
COLUMNS = ("heart", "file", "view", "view_from", "outcome", "reason")
PLANES = (View.A4C, View.A2C)
_KINDS = ("plain", "part_of_beat", "unreliable", "none")
"""Kinds of an EF, the best first."""


_CANNOT_TELL = (
    "the view classifier cannot tell its view; give it by --a4c or --a2c if it shows that view"
)


class StudyClip(NamedTuple):
    """A clip of a study: path relative to its folder, file, stated view and where that is from."""

    name: str
    path: Path
    view: View
    view_from: str


@dataclass(frozen=True, kw_only=True)
class Heart:
    """The clips of one heart, of each plane the best, and a row of `COLUMNS` of each other one."""

    name: str
    clips: tuple[StudyClip, ...]
    best: dict[View, tuple[StudyClip, Analysis]] = field(default_factory=dict)
    passed_over: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, clip: StudyClip, analysis: Analysis) -> None:
        """Use the clip for its plane if its EF is more reliable than that of the clip before."""
        view, reason = _plane(clip, analysis)
        if reason:
            return self.pass_over(clip, reason)
        pair = [(clip, analysis), *filter(None, [self.best.get(view)])]
        (best, ours), *rest = sorted(pair, key=lambda one: _rank(one[1]))
        self.best[view] = best, ours
        for other, theirs in rest:
            why = f"{best.name} is preferred: {describe_ef(ours)}, not {describe_ef(theirs)}"
            self.pass_over(other, why, view=view)

    def pass_over(
        self, clip: StudyClip, why: str, outcome: str = "passed over", *, view: View | None = None
    ) -> None:
        """Note why a clip is not used."""
        self.passed_over.append(self._row(clip, view or clip.view, outcome, why))

    def rows(self) -> list[tuple[str, ...]]:
        """A row of `COLUMNS` per clip, those that are used first."""
        used = [
            self._row(clip, view, "used", describe_ef(analysis))
            for view, (clip, analysis) in sorted(self.best.items(), reverse=True)
        ]
        return used + sorted(self.passed_over)

    def _row(self, clip: StudyClip, view: View, outcome: str, why: str) -> tuple[str, ...]:
        return self.name, clip.name, str(view), clip.view_from, outcome, why


def _plane(clip: StudyClip, analysis: Analysis) -> tuple[View, str]:
    """The view of an analyzed clip, and why it is of neither plane; empty where it is of one."""
    if analysis.wrong_view:
        return clip.view, analysis.wrong_view
    view = analysis.clip.view
    if analysis.model and analysis.predicted_view:
        view = analysis.predicted_view.resolve(view, analysis.model.views)
    return view, "" if view in PLANES else _CANNOT_TELL


def _rank(analysis: Analysis) -> tuple[int, bool, float, int]:
    """Order of clips of a plane, best first: kind of EF, whole beat, expected error, beats."""
    error, measurement = _expected_error_points(analysis), analysis.measurement
    kind = _KINDS.index(analysis.ef.kind)
    return kind, measurement.is_part_of_beat, error, -len(measurement.beats)


def _expected_error_points(analysis: Analysis) -> float:
    interval = analysis.reliability and analysis.reliability.interval
    return interval.expected_error_points if interval else float("inf")


def describe_ef(analysis: Analysis) -> str:
    """What makes an EF more or less reliable, in a few words."""
    error, beats = _expected_error_points(analysis), len(analysis.measurement.beats)
    expected = f", expected error {error:.1f} points" if error < float("inf") else ""
    return f"{analysis.ef.text}{expected}, {beats} beat{'s' * (beats != 1)}"


def find_hearts(folder: Path, out: Path | None = None) -> tuple[list[Heart], dict[str, str]]:
    """Find the clips of each heart in a study's folder, and the other files.

    Clips are of one heart that share Patient ID and Study Instance UID. Of clips without a study
    those are that share a Patient ID, or have none, and a file name but for the view in it, or
    else a folder. Two studies are two hearts, whatever the names.

    Raises:
        ConfigError: If there is no clip.
        DatasetError: If a folder cannot be read.
    """
    sources = find_clips([folder], out)
    headers = {name: read_clip_header(path) for name, path in sources.items()}
    names = {name: view_of_name(os.path.basename(name).split(".")[0]) for name in sources}
    hearts: dict[tuple[str, ...], list[str]] = {}
    for name, header in headers.items():
        hearts.setdefault(_key(name, header, names), []).append(name)
    stems = [_heart_name(folder, clips, names) for clips in hearts.values()]
    folders = free_names(stems, [TABLE])
    return [
        Heart(name=name, clips=tuple(_clip(c, sources[c], headers[c], names[c][0]) for c in clips))
        for name, clips in zip(folders, hearts.values(), strict=True)
    ], sources.others


def hide_names(
    hearts: list[Heart], others: dict[str, str], folder: Path, names: Pseudonyms
) -> tuple[list[Heart], dict[str, str]]:
    """What `find_hearts` finds in a folder, with hashes as names of hearts and files."""
    hidden = []
    for heart in hearts:
        clips = tuple(clip._replace(name=names.name(clip.path)) for clip in heart.clips)
        digest = names.digest(*sorted(os.path.abspath(clip.path) for clip in clips))
        hidden.append(Heart(name=f"heart-{digest}", clips=clips))
    return hidden, {names.name(folder / name): names.hide(why) for name, why in others.items()}


def _clip(name: str, path: Path, header: ClipHeader, named: View) -> StudyClip:
    known = ((header.view, "header"), (named, "name"), (View.UNKNOWN, "pictures"))
    view, origin = next((one for one in known if one[0] is not View.UNKNOWN), known[-1])
    return StudyClip(name, path, view, origin)


def _key(name: str, header: ClipHeader, names: dict[str, tuple[View, str]]) -> tuple[str, ...]:
    """What a clip shares with others of its heart; clips of two patients or studies do not."""
    parent, (view, rest) = os.path.dirname(name), names[name]
    if header.study:
        return header.patient, header.study
    views = [v for other, (v, _) in names.items() if os.path.dirname(other) == parent]
    is_single = all(views.count(plane) <= 1 for plane in PLANES)
    return header.patient, parent, "" if is_single or view is View.UNKNOWN else rest


def _heart_name(folder: Path, clips: list[str], names: dict[str, tuple[View, str]]) -> str:
    """What the names of a heart's clips share, else their folder."""
    rests = {names[clip][1] for clip in clips if names[clip][0] is not View.UNKNOWN}
    if len(rests) == 1 and "" not in rests:
        return rests.pop()
    common = os.path.commonpath([(folder.resolve() / clip).parent for clip in clips])
    return os.path.basename(common)
