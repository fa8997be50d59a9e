"""The result folder of one clip, written whole or not at all."""

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from echoseg.errors import OutputError
from echoseg.files import atomic_dir, check_writable
from echoseg.inference.analysis import Analysis
from echoseg.io.nifti import write_masks
from echoseg.io.video import write_h264
from echoseg.quality.image_quality import quality_by_frame
from echoseg.report.biplane import Study, build_study_report, study_row
from echoseg.report.figures.curve import curve_png
from echoseg.report.figures.overlay import overlay_frames
from echoseg.report.figures.page import page_html
from echoseg.report.figures.pdf import page_pdf
from echoseg.report.figures.study_page import study_page_html
from echoseg.report.schema import build_report, registry_row

MARK = "report.json"
"""The file by which a folder is known as one of ours."""
PDF = "report.pdf"
FILES = frozenset(
    {
        PDF,
        MARK,
        "registry.csv",
        "masks.nii.gz",
        "overlay.mp4",
        "curve.png",
        "frames.csv",
        "report.html",
    }
)
"""All that a result folder may hold, the PDF when asked for; one with more is never replaced."""
PLANES = ("A4C", "A2C")
STUDY_FILES = frozenset({MARK, "registry.csv", "report.html", *PLANES})
"""All that a study's folder holds; in the folder of each plane, `FILES`."""


def result_folder_names(sources: Sequence[Path]) -> list[str]:
    """Return one folder name a clip, from the file's stem; equal ones get -2, -3, ..."""
    return free_names(
        [source.name if source.is_dir() else _stem(source.name) for source in sources]
    )


def free_names(stems: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names that a file system holds, none twice or among TAKEN; equal ones get -2, -3."""
    held, numbers, names = {name.casefold() for name in taken}, Counter[str](), []
    for stem in map(_safe_name, stems):
        name = stem
        while name.casefold() in held:
            numbers[stem.casefold()] += 1
            name = f"{stem}-{numbers[stem.casefold()] + 1}"
        held.add(name.casefold())
        names.append(name)
    return names


def _stem(file_name: str) -> str:
    """Return the name without its suffix; a DICOM UID such as 1.2.840.5 has none."""
    if re.fullmatch(r"[\d.]+", file_name):
        return file_name
    return Path(re.sub(r"\.gz$", "", file_name)).stem


def _safe_name(text: str) -> str:
    """Return text with letters, accents and digits of any script kept and the rest as `_`."""
    text = unicodedata.normalize("NFC", text)
    kept = [c if c in "_.+-" or unicodedata.category(c)[0] in "LMN" else "_" for c in text]
    name = re.sub(r"_+", "_", "".join(kept)).strip("._")
    # file systems allow 255 bytes, and the hidden folder beside it has a longer name
    return name.encode()[:180].decode(errors="ignore") or "clip"


def check_output(folder: Path, force: bool = False, files: frozenset[str] = FILES) -> None:
    """Refuse, before the long work, a folder that must not or cannot be written.

    `files` is all that one of ours holds.

    Raises:
        OutputError: If it exists without `force`; if it is none of ours, or holds what is none
            of ours; if the folder above it cannot be made or written.
    """
    if os.path.exists(folder):  # unlike Path's it is False where it may not look
        if not force:
            raise OutputError(f"{folder} exists; pass --force to replace it, or another -o")
        held = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
        if held and MARK not in held:
            raise OutputError(
                f"{folder} exists and holds no {MARK}, so it is no result of echoseg and is not "
                "replaced; choose another -o"
            )
        if foreign := sorted(held - files):
            raise OutputError(
                f"{folder} holds {foreign[0]}, which echoseg did not write, so it is not replaced; "
                "move it away, or choose another -o"
            )
    check_writable(folder.parent, "choose another -o")


def write_results(
    analysis: Analysis,
    folder: Path,
    *,
    force: bool = False,
    pdf: bool = False,
    pages: bool = True,
) -> Path:
    """Write masks, overlay, curve, table, report and page of a clip into `folder`.

    With `pdf` a sheet to print as well; without `pages` nothing to look at, but numbers and masks
    alone. All is written beside it and renamed in one step: a cut
    leaves the old folder or none.

    Raises:
        OutputError: As `check_output`, or if the disk fails.
    """
    check_output(folder, force)
    with atomic_dir(folder, lambda: check_output(folder, force)) as partial:
        _write_all(analysis, partial, pdf=pdf, pages=pages)
    return Path(os.path.abspath(folder))


def check_study_output(folder: Path, force: bool = False) -> None:
    """Refuse as `check_output` does, with the folders of both planes.

    Raises:
        OutputError: If so.
    """
    check_output(folder, force, STUDY_FILES)
    for plane in PLANES:
        if (folder / plane).exists():
            check_output(folder / plane, force)


def write_study(study: Study, folder: Path, *, force: bool = False, pdf: bool = False) -> Path:
    """Write both planes' results and the report of the two together, all of it or nothing.

    With `pdf` a sheet of each plane as well.

    Raises:
        OutputError: As `check_study_output`, or if the disk fails.
    """
    check_study_output(folder, force)
    with atomic_dir(folder, lambda: check_study_output(folder, force)) as partial:
        for plane, analysis in zip(PLANES, (study.a4c, study.a2c), strict=True):
            (partial / plane).mkdir()
            _write_all(analysis, partial / plane, pdf=pdf)
        report = build_study_report(study, version("echoseg"))
        (partial / MARK).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _write_row(study_row(report), partial / "registry.csv")
        page = study_page_html(report, folder.name)
        (partial / "report.html").write_text(page, encoding="utf-8")
    return Path(os.path.abspath(folder))


def _write_all(analysis: Analysis, folder: Path, *, pdf: bool = False, pages: bool = True) -> None:
    rate_hz = analysis.clip.frame_rate_hz
    interval_s = 1 / rate_hz if rate_hz else None
    spacing_mm = analysis.measurement.spacing_mm  # not the clip's: that may have been refused
    write_masks(folder / "masks.nii.gz", analysis.masks, spacing_mm, interval_s)
    _write_frames(analysis, folder / "frames.csv")
    report = build_report(analysis, version("echoseg"))
    (folder / MARK).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _write_row(registry_row(report), folder / "registry.csv")
    if pages:
        write_h264(folder / "overlay.mp4", overlay_frames(analysis), rate_hz or 30.0)
        curve = curve_png(analysis)
        (folder / "curve.png").write_bytes(curve)
        page = page_html(analysis, report, (folder / "overlay.mp4").read_bytes(), curve)
        (folder / "report.html").write_text(page, encoding="utf-8")
    if pdf:
        (folder / PDF).write_bytes(page_pdf(analysis, report))


def _write_frames(analysis: Analysis, path: Path) -> None:
    """Write one row a frame; an empty cell is a value that could not be had."""
    found = analysis.measurement
    phases = {found.ed_frame: "ED", found.es_frame: "ES"}
    with path.open("w", newline="", encoding="utf-8") as file:
        quality = quality_by_frame(analysis.clip.frames, analysis.masks)
        columns = [*asdict(found.frames[0]), *quality[0], "phase"]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for frame, seen in zip(found.frames, quality, strict=True):
            values = asdict(frame) | seen
            row = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
            writer.writerow({**row, "phase": phases.get(frame.frame_index, "")})


def _write_row(row: dict[str, Any], path: Path) -> None:
    """Write a heading and one row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
