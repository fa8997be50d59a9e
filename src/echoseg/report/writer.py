"""The result folders of a clip and of a biplane analysis, written atomically."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from echoseg.files import OwnedFolder, Replace, csv_text, write_mark, write_text
from echoseg.inference.analysis import Analysis
from echoseg.io.nifti import write_masks
from echoseg.io.video import write_h264
from echoseg.quality.image_quality import quality_by_frame
from echoseg.report.biplane import BiplaneAnalysis, BiplaneReport, biplane_row, build_biplane_report
from echoseg.report.figures.curve import phase_marks
from echoseg.report.figures.curve_svg import curve_svg
from echoseg.report.figures.overlay import overlay_frames
from echoseg.report.figures.page import (
    DEFAULT_RATE_HZ,
    biplane_content,
    biplane_page_html,
    clip_content,
    page_html,
)
from echoseg.report.figures.pdf import report_pdf
from echoseg.report.html import data_uri
from echoseg.report.schema import Report, build_report, registry_row

DICOM = "dicom"
"""Folder of DICOM objects in a result folder, which `echoseg.dicom` writes."""
MARK = "report.json"
"""The file that identifies a result folder."""
PDF, OVERLAY, CURVE = "report.pdf", "overlay.mp4", "curve.svg"
FILES = frozenset(
    {PDF, MARK, "registry.csv", "masks.nii.gz", OVERLAY, CURVE, "frames.csv", "report.html"}
)
"""Everything a result folder holds (the PDF is optional)."""
MAX_VIDEO_BYTES = 32 * 2**20
"""Size of an overlay from which the page shows the file next to it, in place of a copy."""
_DEVICE = re.compile(r"^(con|prn|aux|nul|(?:com|lpt)[0-9¹²³])(?=\.|$)", re.IGNORECASE)
"""Names of devices on Windows, with any suffix (Microsoft, "Naming Files, Paths, Namespaces")."""
PLANES = ("A4C", "A2C")
"""Folders of a biplane folder; each is a result folder."""


def result_folder_names(sources: Sequence[Path]) -> list[str]:
    """One folder name per clip, from the file's stem; duplicates get -2, -3, ..."""
    return free_names(
        [source.name if source.is_dir() else _stem(source.name) for source in sources]
    )


def free_names(stems: Sequence[str], reserved: Iterable[str] = ()) -> list[str]:
    """File names that differ from each other and from `reserved`; duplicates get -2, -3, ..."""
    used, numbers, names = {name.casefold() for name in reserved}, Counter[str](), []
    for stem in map(_safe_name, stems):
        name = stem
        while name.casefold() in used:
            numbers[stem.casefold()] += 1
            name = f"{stem}-{numbers[stem.casefold()] + 1}"
        used.add(name.casefold())
        names.append(name)
    return names


def _stem(file_name: str) -> str:
    """The name without its suffix; a DICOM UID such as 1.2.840.5 has none."""
    if re.fullmatch(r"[\d.]+", file_name):
        return file_name
    return Path(re.sub(r"\.gz$", "", file_name)).stem


def _safe_name(text: str) -> str:
    """Replace everything but letters, accents and digits of any script by `_`."""
    text = unicodedata.normalize("NFC", text)
    characters = [c if c in "_.+-" or unicodedata.category(c)[0] in "LMN" else "_" for c in text]
    name = re.sub(r"_+", "_", "".join(characters)).lstrip("-._").rstrip("._")
    # file systems allow 255 bytes, and the temporary folder has a longer name
    name = name.encode()[:180].decode(errors="ignore").rstrip(".") or "clip"
    return _DEVICE.sub(r"\1_", name)


def check_output(folder: Path, force: Replace = False) -> Path | None:
    """Refuse a folder that must not or cannot be written, before the long work.

    Returns:
        Where what is there will be moved, with `force="keep"`.

    Raises:
        OutputError: If it exists without `force`; if it holds anything that is not as echoseg wrote
            it; if its parent folder cannot be created or written.
    """
    return OwnedFolder(folder, MARK, force).check()


def write_results(
    analysis: Analysis,
    folder: Path,
    *,
    force: Replace = False,
    pdf: bool = False,
    pages: bool = True,
) -> Path:
    """Write masks, overlay, curve, tables, report and page of a clip into `folder`.

    Everything is written to a temporary folder that is then renamed, so an interruption leaves the
    old folder or none. Without `pages` there are no overlay, curve and page; with `pdf` there is
    `report.pdf` too. Returns the absolute path of the folder.

    Raises:
        OutputError: As `check_output`, or if writing fails.
    """
    output = OwnedFolder(folder, MARK, force)
    with output.write() as partial:
        _write_all(analysis, partial, pdf=pdf, pages=pages)
    return output.path


def write_biplane(
    analysis: BiplaneAnalysis, folder: Path, *, force: Replace = False, pdf: bool = False
) -> Path:
    """Write both planes' results and their common report, as `write_results` does for a clip.

    Raises:
        OutputError: As `check_output`, or if writing fails.
    """
    output = OwnedFolder(folder, MARK, force)
    with output.write() as partial:
        for plane, one in zip(PLANES, (analysis.a4c, analysis.a2c), strict=True):
            (partial / plane).mkdir()
            _write_all(one, partial / plane, pdf=pdf)
        report = build_biplane_report(analysis)
        _write_csv([biplane_row(report)], partial / "registry.csv")
        content = biplane_content(analysis, report, output.path.name)
        write_text(partial / "report.html", biplane_page_html(content))
        if pdf:
            (partial / PDF).write_bytes(report_pdf(content))
        _write_report(report, partial)
    return output.path


def _write_all(analysis: Analysis, folder: Path, *, pdf: bool = False, pages: bool = True) -> None:
    rate_hz = analysis.clip.frame_rate_hz
    interval_s = 1 / rate_hz if rate_hz else None
    spacing_mm = analysis.measurement.spacing_mm  # not the clip's, which may be implausible
    write_masks(folder / "masks.nii.gz", analysis.masks, spacing_mm, interval_s)
    _write_csv(_frame_rows(analysis), folder / "frames.csv")
    report = build_report(analysis)
    _write_csv([registry_row(report)], folder / "registry.csv")
    content = clip_content(analysis, report) if pages or pdf else {}
    if pages:
        write_h264(folder / OVERLAY, overlay_frames(analysis), rate_hz or DEFAULT_RATE_HZ)
        write_text(folder / CURVE, curve_svg(analysis, alone=True))
        page = page_html(analysis, content, _address(folder / OVERLAY))
        write_text(folder / "report.html", page)
    if pdf:
        (folder / PDF).write_bytes(report_pdf(content))
    _write_report(report, folder)


def _write_report(report: Report | BiplaneReport, folder: Path) -> None:
    """Write `report.json` with the hashes of the files, which are all there by now."""

    def text(files: dict[str, str]) -> str:
        return report.model_copy(update={"files": files}).model_dump_json(indent=2) + "\n"

    write_mark(folder, MARK, text)


def _address(video: Path) -> str:
    """Address of a video in a page next to it: its content, or of a long clip its name."""
    if video.stat().st_size > MAX_VIDEO_BYTES:
        return video.name
    return data_uri(video.read_bytes(), "video/mp4")


def _frame_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """One row per frame; an empty cell is a value that could not be measured."""
    measurement = analysis.measurement
    phases = phase_marks(measurement)
    quality = quality_by_frame(analysis.clip.frames, analysis.masks, analysis.axes_px)
    rows = []
    for frame, columns in zip(measurement.frames, quality, strict=True):
        values = asdict(frame) | columns
        if not analysis.ef.value:  # strain is withheld with the EF
            values["strain_percent"] = None
        values |= {"phase": phases.get(frame.frame_index, "")}
        rows.append({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})
    return rows


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    write_text(path, csv_text(rows[0], map(dict.values, rows)))
