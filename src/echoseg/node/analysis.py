"""What a worker process does with a study: analyze it, and write what is sent, each object once.

    FOLDER/results/STUDY/VERSION/...   `report.study` of the received clips, resumable
    FOLDER/results/STUDY/objects/...   the DICOM objects, named by hashes of their UIDs

VERSION is a hash of settings, model and echoseg's version: what another version began is not
resumed. An object is never written again, so what waits to be sent stays what it was.
"""

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from echoseg.errors import ConfigError, EchosegError, OutputError
from echoseg.files import read_json
from echoseg.node.jobs import ResultObject
from echoseg.parallel import Limits
from echoseg.report.cohort import MANIFEST, Cohort, Failure, RunOptions, Settings, read_outcome

_LOCK_TIMEOUT_S = 60.0
OBJECTS = "objects"


class StudyTask(BaseModel):
    """A study to be analyzed.

    Attributes:
        folder: The node's folder.
        name: Name of the study.
        settings: How its clips are analyzed.
        is_careful: Each clip gets a process of its own, since the study has failed before.
        is_last: There is no further try: what there is of a result is sent.
        simplified_sr: As in `NodeSettings`.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    name: str
    settings: Settings
    is_careful: bool = False
    is_last: bool = False
    simplified_sr: bool = False


class StudyResult(BaseModel):
    """What is sent of a study; the reason says why there is less than a full result."""

    model_config = ConfigDict(frozen=True)

    objects: tuple[ResultObject, ...] = ()
    sha256: str = ""
    reason: str = ""


def study_settings(model: str) -> Settings:
    """How the clips of studies are analyzed: as `echoseg analyze --study --private --pdf`.

    Raises:
        ModelError: If there is no such model.
    """
    from echoseg.weights.card import find_checkpoint, read_card

    sha256 = read_card(find_checkpoint(model)).sha256
    return Settings(model=model, model_sha256=sha256, pdf=True, private=True, sort_views=True)


def load_model(settings: Settings) -> None:
    """Load libraries and model of a worker process before its first study."""
    import echoseg.dicom.write
    import echoseg.report.study
    from echoseg.report.cohort.work import load_analyzer

    assert echoseg.dicom.write and echoseg.report.study
    load_analyzer(settings.model, settings.device, settings.backend)


def analyze_study(task: StudyTask) -> StudyResult:
    """Analyze a study and write its DICOM objects.

    Raises:
        OutputError: If the disk fails, another process does not let go of the study, or memory
            ran out or a process was killed during a clip, unless it is the last try.
        EchosegError: If the model cannot be loaded, or the folder not be read.
    """
    from filelock import FileLock, Timeout

    results = task.folder / "results" / task.name
    results.mkdir(parents=True, exist_ok=True)
    try:
        # a worker of a node that was killed lives on for a moment
        with FileLock(results / ".lock", timeout=_LOCK_TIMEOUT_S):
            return _analyze(task, results)
    except Timeout as error:
        raise OutputError("another process works on the study") from error


def _analyze(task: StudyTask, results: Path) -> StudyResult:
    from echoseg.dicom.write import write_dicom
    from echoseg.report.study import CLIPS, NOT_WRITTEN, run_study

    source = task.folder / "studies" / task.name
    content = f"{task.settings.model_dump_json()} {version('echoseg')}"
    out = results / hashlib.sha256(content.encode()).hexdigest()[:16]
    options = RunOptions(resume=True, limits=Limits() if task.is_careful else None)
    try:
        study = run_study(source, task.settings, out, options=options)
    except ConfigError as error:
        return StudyResult(reason=str(error))
    lost = [row[-1] for row in study.rows if row[-1].startswith(NOT_WRITTEN)] + _lost(out / CLIPS)
    if lost and not task.is_last:
        raise OutputError(f"{len(lost)} clips have no result yet: {lost[0]}")
    objects: list[tuple[ResultObject, str]] = []
    reasons = []
    for choice in (one for one in study.choices if one.best):
        sources = [entry.source for entry, _ in choice.best.values()]
        with tempfile.TemporaryDirectory(dir=results, prefix=".dicom-") as work:
            try:
                folder = write_dicom(
                    out / choice.heart, *sources, output=Path(work) / "new",
                    simplified=task.simplified_sr,
                )  # fmt: skip
            except OutputError:
                raise
            except EchosegError as error:
                reasons.append(str(error))
                continue
            objects += [
                keep_object(path, task.folder, results) for path in sorted(folder.glob("*.dcm"))
            ]
    outcomes = Counter(row[-2] for row in study.rows)
    if set(outcomes) - {"used"}:
        reasons.insert(0, ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())))
    digest = hashlib.sha256("".join(sorted(sha256 for _, sha256 in objects)).encode()).hexdigest()
    return StudyResult(
        objects=tuple(one for one, _ in objects), sha256=digest, reason="; ".join(reasons)
    )


def _lost(clips: Path) -> list[str]:
    """Why clips of a cohort have no result, where another try may give one."""
    held = read_json(clips / MANIFEST, Cohort, "remove the results of the study")
    outcomes = [read_outcome(clips, entry) for entry in (held.entries if held else ())]
    return [one.reason for one in outcomes if isinstance(one, Failure) and one.kind == "outside"]


def keep_object(path: Path, folder: Path, results: Path) -> tuple[ResultObject, str]:
    """Keep an object for sending, synchronized, unless there is one of its UID.

    Args:
        path: Its file.
        folder: The node's folder.
        results: Folder of the results of its study.

    Returns:
        The object, and the SHA-256 of its file.

    Raises:
        OutputError: If it cannot be written.
    """
    from pydicom.filereader import read_file_meta_info

    header = read_file_meta_info(path)
    uid = str(header.MediaStorageSOPInstanceUID)
    objects = results / OBJECTS
    objects.mkdir(exist_ok=True)
    place = objects / f"{hashlib.sha256(uid.encode()).hexdigest()[:32]}.dcm"
    try:
        if not place.exists():
            partial = path.with_suffix(".partial")
            shutil.copyfile(path, partial)
            _synchronize(partial)
            os.replace(partial, place)
        for one in (objects, results, results.parent):
            _synchronize(one)
        content = place.read_bytes()
    except OSError as error:
        raise OutputError(f"a result cannot be written ({error.strerror})") from error
    one = ResultObject(
        class_uid=str(header.MediaStorageSOPClassUID),
        instance_uid=uid,
        path=str(place.relative_to(folder)),
    )
    return one, hashlib.sha256(content).hexdigest()


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
