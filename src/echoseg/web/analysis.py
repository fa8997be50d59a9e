"""What a worker process does with a clip of the worklist: open it, write cine and result.

    clips/ID/cine.*     see `cine`; written before the analysis, so that the clip can be played
    clips/ID/curves.*   see `curves`; written as frames are segmented
    clips/ID/result/    what `echoseg analyze` writes, without pages
    clips/ID/progress   `DONE TOTAL`, frames that are segmented

A worker that died leaves what it had written whole; the next one goes on from there.
"""

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from echoseg.clip import Clip, View
from echoseg.errors import DamagedError, EchosegError, MeasurementError, OutputError, printable
from echoseg.files import read_json
from echoseg.private import hide_path
from echoseg.quality.reliability import label_priority
from echoseg.report.cohort import Settings, with_backend
from echoseg.report.schema import Report, ef_statement
from echoseg.report.writer import MARK
from echoseg.web.cine import read_cine, write_cine

RESULT, PROGRESS, MASKS = "result", "progress", "masks.nii.gz"
_PROGRESS_INTERVAL_S = 0.2
_LOCK_TIMEOUT_S = 60.0


class ClipTask(BaseModel):
    """A clip to be analyzed.

    Attributes:
        folder: Its folder, `clips/ID`.
        source: Its file or folder of frames.
        alias: Stands for the source in results and messages.
        is_private: Nothing else that names the patient, such as the study, is taken from the file.
        sha256: Hash of its content.
        settings: How it is analyzed.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    source: Path
    alias: str
    sha256: str
    settings: Settings
    is_private: bool = True


class ClipResult(BaseModel):
    """What the worklist shows of an analysis; the fields of `ClipRow` of the same names."""

    model_config = ConfigDict(frozen=True)

    reason: str = ""
    view: str = str(View.UNKNOWN)
    num_frames: int = 0
    ef_kind: str = "none"
    ef_percent: float | None = None
    ef_low_percent: float | None = None
    ef_high_percent: float | None = None
    label_priority: float | None = None


class ClipFailure(BaseModel):
    """Why a clip has no result, in plain words."""

    model_config = ConfigDict(frozen=True)

    reason: str


def page_settings(model: str, backend: str) -> Settings:
    """How clips of the page are analyzed: as `echoseg analyze --no-pages`.

    `auto` becomes the fastest backend; where that is not known yet, it is measured now.

    Raises:
        ConfigError: If there is no such backend, or it is not installed.
        ModelError: If there is no such model.
    """
    from echoseg.inference.backends.select import check_backend
    from echoseg.weights.card import find_checkpoint, read_card

    check_backend(backend)
    card = read_card(find_checkpoint(model))
    how = Settings(model=model, model_sha256=card.sha256, backend=backend, pages=False)
    return with_backend(how)


def analyze_clip(task: ClipTask) -> ClipResult | ClipFailure:
    """Write cine and result of a clip, unless they are there, and return what is shown of it."""
    from filelock import FileLock, Timeout

    try:
        task.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # a worker of a server that was killed lives on for a moment
        with FileLock(task.folder / ".lock", timeout=_LOCK_TIMEOUT_S):
            report = read_result(task.folder)
            if report is None or read_cine(task.folder) is None:
                report = _analyze(task)
            return row_values(report)
    except Timeout:
        return ClipFailure(reason="another process works on this clip; try it again")
    except EchosegError as error:
        return ClipFailure(reason=plain_reason(error, task.source, task.alias))
    except MemoryError:
        return ClipFailure(reason="memory ran out; give fewer --jobs (jobs), and try it again")
    except Exception as error:  # decoders raise exceptions of their own
        return ClipFailure(reason=f"unexpected, please report it: {type(error).__name__}")
    finally:
        with contextlib.suppress(OSError):
            (task.folder / PROGRESS).unlink(missing_ok=True)


def plain_reason(error: EchosegError, source: Path, alias: str) -> str:
    """What an error says, without the name of the clip, which stands beside it."""
    text = str(error)
    if isinstance(error, DamagedError) and error.way_out:  # an option of the command line
        text = (
            text.removesuffix(error.way_out) + "export it again, or analyze it by echoseg analyze"
        )
    text = hide_path(printable(text), source, alias)
    return text.removeprefix(f"{alias}: ")


def load_source(task: ClipTask) -> Clip:
    """Read the clip that was added.

    Raises:
        FormatError: If it cannot be read.
        OutputError: If its file is another one now.
    """
    from echoseg.io import load_clip

    max_gib = task.settings.max_decoded_gib
    alias = task.alias if task.is_private else None
    clip = load_clip(task.source, alias=alias, max_decoded_gib=max_gib)
    if clip.source_sha256 != task.sha256:
        raise OutputError("its file has changed since it was added; add it again")
    return replace(clip, source=task.alias)


def _analyze(task: ClipTask) -> Report:
    from echoseg.parallel import torch_threads
    from echoseg.report.cohort.work import load_analyzer
    from echoseg.report.writer import write_results
    from echoseg.web.curves import CurveWriter  # loads what readers need

    how, clip = task.settings, load_source(task)
    write_cine(clip, task.folder)
    analyzer = load_analyzer(how.model, how.device, how.backend)
    curves = CurveWriter(task.folder, clip.spacing_mm)
    with torch_threads(1):
        progress = _Progress(task.folder / PROGRESS)
        analysis = analyzer.analyze(clip, progress=progress, on_mask=curves.add)
    write_results(analysis, task.folder / RESULT, pages=how.pages, force=True)
    report = read_result(task.folder)
    if report is None:
        raise MeasurementError("its result is not there; try it again")
    curves.finish(report.files[MASKS])
    return report


class _Progress:
    """Writes how many frames are done, not more often than it is looked at."""

    def __init__(self, path: Path) -> None:
        self._path, self._next_s = path, 0.0

    def __call__(self, done: int, total: int) -> None:
        if (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + _PROGRESS_INTERVAL_S
            with contextlib.suppress(OSError):
                self._path.write_text(f"{done} {total}")


def read_progress(folder: Path) -> tuple[int, int]:
    """Frames that are done, and all, of the clip of a folder; (0, 0) where nothing is known."""
    try:
        done, total = map(int, (folder / PROGRESS).read_text().split())
    except (OSError, ValueError):
        return 0, 0
    return done, total


def read_result(folder: Path) -> Report | None:
    """The network's report of the clip of a folder; None before it is analyzed.

    Raises:
        OutputError: If it is damaged.
    """
    way_out = "remove the clip's folder and add the clip again"
    return read_json(folder / RESULT / MARK, Report, way_out)


def row_values(report: Report) -> ClipResult:
    """What the worklist shows of a report."""
    ef, predicted = ef_statement(report), report.predicted_view
    view = report.input.view
    if view == View.UNKNOWN and predicted is not None:
        view = predicted.view
    return ClipResult(
        reason=ef.reason,
        view=view,
        num_frames=report.input.num_frames,
        ef_kind=ef.kind,
        ef_percent=ef.ef_percent,
        ef_low_percent=ef.interval.low_percent if ef.interval else None,
        ef_high_percent=ef.interval.high_percent if ef.interval else None,
        label_priority=report.reliability and label_priority(report.reliability.uncertainty),
    )


class Prepare:
    """Loads libraries and model of a worker process before its first clip; picklable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self) -> None:
        """Load them.

        Raises:
            ModelError: If the model does not load.
        """
        import echoseg.report.writer
        from echoseg.report.cohort.work import load_analyzer

        assert echoseg.report.writer
        load_analyzer(self._settings.model, self._settings.device, self._settings.backend)
