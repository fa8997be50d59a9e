"""A study: its clips as a cohort, then of each heart the best A4C and A2C together; resumable.

    OUT/clips/       the cohort of all clips that may show a plane (`report.cohort`), without pages
    OUT/HEART/...    biplane result of a heart's best clips, or that of the one plane there is
    OUT/study.csv    a row per file: which are used, and why the others are not; written last

The choice is made from the reports of the clips. A heart's folder is written again where it is not
of the clips that are chosen. The masks are those of the cohort, which are not made twice.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from echoseg.clip import View
from echoseg.errors import EchosegError, OutputError, printable
from echoseg.files import check_new_file, csv_text, locked_dir, read_json, write_table
from echoseg.parallel import Limits, parallel_map
from echoseg.private import Pseudonyms
from echoseg.quality.view import CANNOT_TELL
from echoseg.report import cohort
from echoseg.report.biplane import BiplaneAnalysis
from echoseg.report.cohort import Cohort, Entry, Failure, FoundClips, Settings, analyze_entry
from echoseg.report.cohort.folder import DEFAULT_OPTIONS, RunOptions
from echoseg.report.cohort.work import Work
from echoseg.report.hearts import PLANES, Heart, StudyClip, find_hearts, hide_names
from echoseg.report.schema import Report, ef_statement
from echoseg.report.writer import MARK, PDF, check_output
from echoseg.weights.card import find_checkpoint, read_card

TABLE, CLIPS, MASKS = "study.csv", "clips", "masks.nii.gz"
COLUMNS = ("heart", "file", "view", "view_from", "outcome", "reason")
_KINDS = ("plain", "part_of_beat", "unreliable", "none")
"""Kinds of an EF, the best first."""
_CANNOT_TELL = (
    "the view classifier cannot tell its view; give it by --a4c or --a2c if it shows that view"
)
NOT_WRITTEN = "the heart was not written"
"""Begin of the reason of clips that were analyzed, and whose heart was then lost; again it may not
be."""
Row = tuple[str, ...]


class Choice(NamedTuple):
    """The clips of a heart that are used, by plane, and a row of `COLUMNS` of each of its clips."""

    heart: str
    best: dict[View, tuple[Entry, Report]]
    rows: list[Row]


class Study(NamedTuple):
    """Choice of each heart, a row of `COLUMNS` per file, and where an edited table was moved."""

    choices: list[Choice]
    rows: list[Row]
    backup: Path | None


def run_study(  # what, how, and where
    folder: Path,
    settings: Settings,
    out: Path,
    *,
    names: Pseudonyms | None = None,
    options: RunOptions = DEFAULT_OPTIONS,
    progress: cohort.Progress = lambda done, total: None,
) -> Study:
    """Analyze the clips of a folder, choose, write the hearts and the table.

    Args:
        folder: The study's folder.
        settings: How the clips are analyzed; `pdf` is of the hearts.
        out: The output folder.
        names: Hashes for names.
        options: How it is run; the results do not depend on it.
        progress: Called with (clips done, all clips).

    Returns:
        The choice of each heart, and a row of `COLUMNS` per file, as in the table.

    Raises:
        ConfigError: If there is no clip, or as `run_cohort`.
        OutputError: If `out` holds other results, is in use, or cannot be written.
        EchosegError: As `run_cohort`.
    """
    hearts, others = find_hearts(folder, out, (TABLE, CLIPS))
    if names is not None:
        hearts, others = hide_names(hearts, others, folder, names)
    with locked_dir(out) as place:
        if not (options.resume and (out / CLIPS / cohort.MANIFEST).exists()):
            check_new_file(out / TABLE)
            for heart in hearts:
                check_output(out / heart.name)
        own = settings.model_copy(update={"pages": False, "pdf": False, "sort_views": True})
        clips = _candidates(hearts)
        cohort.run_cohort(clips, own, out / CLIPS, options, progress)
        held = read_json(out / CLIPS / cohort.MANIFEST, Cohort, "continue with --resume (resume)")
        entries = {
            entry.clip: entry.model_copy(update={"source": clips[entry.clip].absolute()})
            for entry in (held.entries if held else ())
        }
        views = read_card(find_checkpoint(settings.model)).views
        choices = [choose(heart, _outcomes(heart, entries, out), views) for heart in hearts]
        place.check()
        choices = _write_hearts(settings, out, choices, options)
        rows = [row for choice in choices for row in choice.rows]
        rows += [("", name, "", "", "not a clip", why) for name, why in sorted(others.items())]
        place.check()
        backup = write_table(out / TABLE, csv_text(COLUMNS, rows))
    return Study(choices, rows, backup)


def _candidates(hearts: list[Heart]) -> FoundClips:
    """The clips that may show a plane, with the views that names alone state."""
    candidates = FoundClips()
    for clip in (clip for heart in hearts for clip in heart.clips):
        if clip.view in (*PLANES, View.UNKNOWN):
            candidates[clip.name] = clip.path
            if clip.view_from == "name":
                candidates.views[clip.name] = clip.view
    return candidates


Outcomes = Mapping[str, tuple[Entry, Report | Failure]]


def _outcomes(heart: Heart, entries: Mapping[str, Entry], out: Path) -> Outcomes:
    """What the cohort has of a heart's clips, by name; those not analyzed are left out."""
    outcomes = {}
    for entry in (entries[clip.name] for clip in heart.clips if clip.name in entries):
        outcome = cohort.read_outcome(out / CLIPS, entry)
        if outcome is None:
            place = out / CLIPS / entry.name
            raise OutputError(f"{place} was removed; continue with --resume (resume)")
        outcomes[entry.clip] = entry, outcome
    return outcomes


def choose(heart: Heart, outcomes: Outcomes, supported: tuple[View, ...]) -> Choice:
    """Choose the clip of each plane whose EF is the most reliable, and say why not the others.

    Args:
        heart: The heart.
        outcomes: Result or failure of each of its clips that was analyzed, by name.
        supported: Views that the model was trained on.
    """
    by_view: dict[View, list[tuple[StudyClip, Entry, Report]]] = {}
    rows: list[Row] = []

    def note(clip: StudyClip, view: View, outcome: str, why: str) -> Row:
        return heart.name, clip.name, str(view), clip.view_from, outcome, why

    for clip in heart.clips:
        entry, outcome = outcomes.get(clip.name, (None, None))
        if entry is None or outcome is None:
            why = f"its {clip.view_from} states {clip.view}"
            rows.append(note(clip, clip.view, "passed over", why))
        elif isinstance(outcome, Failure):
            kind = "failed" if outcome.is_clip else "not a clip"
            kind = "passed over" if outcome.is_other_view else kind
            rows.append(note(clip, clip.view, kind, outcome.reason))
        else:
            view, why = plane_of(outcome, supported)
            if why:
                rows.append(note(clip, view, "passed over", why))
            else:
                by_view.setdefault(view, []).append((clip, entry, outcome))
    best, used = {}, []
    for view in (view for view in PLANES if view in by_view):
        (clip, entry, report), *rest = sorted(by_view[view], key=lambda one: rank(one[2]))
        best[view] = entry, report
        ours = describe_ef(report)
        used.append(note(clip, view, "used", ours))
        for other, _, theirs in rest:
            why = f"{clip.name} is preferred: {ours}, not {describe_ef(theirs)}"
            rows.append(note(other, view, "passed over", why))
    return Choice(heart.name, best, used + sorted(rows))


def plane_of(report: Report, supported: tuple[View, ...]) -> tuple[View, str]:
    """The view of an analyzed clip, and why it is of neither plane; empty where it is of one.

    Of a clip that shows some plane for sure, though neither alone is, it is the likelier one.
    """
    view, predicted = View(report.input.view), report.predicted_view
    reasons = [one.message for one in report.warnings if one.code == "wrong_view"]
    if reasons:
        return view, reasons[0]
    if predicted:
        view = predicted.resolve(view, supported)
        if view is View.UNKNOWN and any(one.code == "view_predicted" for one in report.notes):
            view = max(supported, key=lambda one: predicted.probability_percent[str(one)])
    return view, "" if view in PLANES else _CANNOT_TELL


def _is_open(report: Report) -> bool:
    """Whether nothing tells for sure which of the planes a clip shows."""
    view, predicted = View(report.input.view), report.predicted_view
    return view is View.UNKNOWN and predicted is not None and predicted.view == CANNOT_TELL


def rank(report: Report) -> tuple[int, bool, bool, float, int]:
    """Order of clips of a plane, best first: kind of EF, whole beat, view, expected error, beats.

    Of an EF that is withheld there is no expected error.
    """
    results, error = report.results, _expected_error_points(report)
    kind = _KINDS.index(ef_statement(report).kind)
    return kind, results.is_part_of_beat, _is_open(report), error, -len(results.beats)


def _expected_error_points(report: Report) -> float:
    interval = report.reliability and report.reliability.interval
    return interval.expected_error_points if interval else float("inf")


def describe_ef(report: Report) -> str:
    """What makes an EF more or less reliable, in a few words."""
    error, beats = _expected_error_points(report), len(report.results.beats)
    expected = f", expected error {error:.1f} points" if error < float("inf") else ""
    text = f"{ef_statement(report).text}{expected}, {beats} beat{'s' * (beats != 1)}"
    if not _is_open(report) or report.predicted_view is None:
        return text
    return f"{text}, view {max(report.predicted_view.probability_percent.values()):.0f} % sure"


def _is_written(out: Path, choice: Choice, pdf: bool) -> bool:
    """Whether a heart's folder is that of the chosen clips."""
    folder = out / choice.heart
    try:
        held = json.loads((folder / MARK).read_text("utf-8"))
        planes = [held["a4c"], held["a2c"]] if "a4c" in held else [held]
        known = [one["input"]["sha256"] for one in planes]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False  # `write` says what is wrong
    hashes = [report.input.sha256 for _, report in choice.best.values()]
    return hashes == known and (folder / PDF).exists() == pdf


def _write_hearts(
    settings: Settings, out: Path, choices: list[Choice], options: RunOptions
) -> list[Choice]:
    """Write the hearts that are not written yet; the clips of one that cannot be are failed.

    Raises:
        OutputError: If a heart's place is taken, or the disk fails.
    """
    left = [one for one in choices if one.best and not _is_written(out, one, settings.pdf)]
    # two clips are read and drawn, each within its limits before
    limits = options.limits and Limits(
        timeout_s=2 * options.limits.timeout_s, memory_gb=2 * options.limits.memory_gb
    )
    reasons = parallel_map(
        partial(_write_heart, settings, out),
        left,
        options.jobs,
        limits=limits,
        on_loss=lambda choice, loss: f"{NOT_WRITTEN}: {loss.reason}",
        prepare=Work(settings=settings, out=out, options=options).prepare,
    )
    lost = {one.heart: why for one, why in zip(left, reasons, strict=True) if why}
    return [_failed(one, lost[one.heart]) if one.heart in lost else one for one in choices]


def _failed(choice: Choice, why: str) -> Choice:
    rows = [(*row[:-2], "failed", why) if row[-2] == "used" else row for row in choice.rows]
    return choice._replace(best={}, rows=rows)


def _write_heart(settings: Settings, out: Path, choice: Choice) -> str:
    """Write the biplane result, or that of the one plane there is; else return why not.

    Raises:
        OutputError: If its place is taken, or the disk fails.
    """
    from echoseg.io.nifti import read_array
    from echoseg.report.writer import write_biplane, write_results

    try:
        analyses = {
            view: analyze_entry(settings, entry, read_array(out / CLIPS / entry.name / MASKS)[0])
            for view, (entry, _) in choice.best.items()
        }
    except EchosegError as error:  # it was changed or removed meanwhile
        return f"{NOT_WRITTEN}: {printable(str(error))}"
    folder = out / choice.heart
    # what is there is of other clips, before the study was resumed
    if len(analyses) == 2:
        both = BiplaneAnalysis(a4c=analyses[View.A4C], a2c=analyses[View.A2C])
        write_biplane(both, folder, force=True, pdf=settings.pdf)
    else:
        (analysis,) = analyses.values()
        write_results(analysis, folder, force=True, pdf=settings.pdf)
    return ""
