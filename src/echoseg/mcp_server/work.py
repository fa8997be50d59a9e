"""The work of the tools, done in a worker process with limits of time and memory."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from echoseg.clip import View
from echoseg.errors import EchosegError, FormatError
from echoseg.mcp_server.answers import read_report


class Options(BaseModel):
    """What the caller knows of a clip or of masks."""

    model_config = ConfigDict(frozen=True)

    view: View | None = None
    spacing_mm: tuple[float, float] | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do with a file.

    Attributes:
        kind: `analyze`, `measure` or `inspect`.
        source: The file or folder.
        results: Folder of all results.
        options: What is known of it.
        model: Checkpoint.
        backend: What computes the network.
    """

    kind: str
    source: Path
    results: Path
    options: Options
    model: str
    backend: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a task has no result, in plain words."""

    reason: str


def work(task: Task) -> Path | dict[str, Any] | Failed:
    """Do a task: the folder of its result, or what `inspect` says."""
    try:
        if task.kind == "inspect":
            from echoseg.io.describe import describe

            return describe(task.source)
        return _analyze(task) if task.kind == "analyze" else _measure(task)
    except EchosegError as error:
        return Failed(str(error))
    except MemoryError:
        return Failed("memory ran out; take a shorter clip")
    except Exception as error:  # decoders raise exceptions of their own
        return Failed(f"unexpected, please report it: {type(error).__name__}")


def _folder(task: Task, sha256: str) -> Path:
    """Folder of a result, the same for the same file and options."""
    options = task.options.model_dump_json()
    key = json.dumps([task.kind, sha256, options, task.model, task.backend])
    return task.results / f"{task.kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _analyze(task: Task) -> Path:
    from echoseg.io import load_clip
    from echoseg.io.formats import source_sha256
    from echoseg.parallel import torch_threads
    from echoseg.report.cohort.work import load_analyzer
    from echoseg.report.writer import write_results

    folder = _folder(task, source_sha256(task.source))
    if read_report(folder) is not None:
        return folder
    clip = load_clip(task.source, **task.options.model_dump())
    with torch_threads(1):
        analysis = load_analyzer(task.model, "cpu", task.backend).analyze(clip)
    return write_results(analysis, folder)


def _measure(task: Task) -> Path:
    from echoseg.inference.analysis import analyze_masks
    from echoseg.io import load_masks
    from echoseg.io.masks import labeled_pair, pair_clip
    from echoseg.report.writer import write_results

    clip, masks = load_masks(task.source, **task.options.model_dump())
    folder = _folder(task, clip.source_sha256)
    if read_report(folder) is not None:
        return folder
    if len(masks) == 1:
        raise FormatError(f"{task.source} is one still; EF needs a clip of masks (x, y, t)")
    if (pair := labeled_pair(masks)) is not None:
        clip, masks = pair_clip(clip, pair), masks[list(pair)]
    return write_results(analyze_masks(clip, masks), folder)
