"""`echoseg measure`: measurements and report of masks that another tool made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import show_backup, start_private
from echoseg.cli.options import (
    AllowDamaged,
    AllowOutside,
    Dicom,
    Force,
    Fps,
    Keep,
    MaxDecoded,
    Pdf,
    Private,
    PrivateKey,
    Smoothing,
    SpacingMm,
    ViewGiven,
    input_option,
    output_option,
    replacing,
)
from echoseg.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np

    from echoseg.clip import Clip


def measure(
    masks: Annotated[
        list[Path],
        typer.Argument(
            help="NIfTI or MetaImage (x, y, t), NumPy (T, H, W), DICOM SEG, or pictures: 1 LV "
            "cavity, 2 LV myocardium, 3 left atrium. Or two stills: ED, then ES."
        ),
    ],
    output: Annotated[Path, output_option("-o", "--output", help="Result folder.")] = Path(
        "echoseg-measured"
    ),
    clip: Annotated[
        Path | None, input_option(help="The clip, for its pictures, times and R waves.")
    ] = None,
    view: ViewGiven = None,
    spacing_mm: SpacingMm = None,
    fps: Fps = None,
    smoothing: Smoothing = True,
    max_decoded: MaxDecoded = 2.0,
    allow_damaged: AllowDamaged = False,
    allow_outside: AllowOutside = False,
    pdf: Pdf = False,
    dicom: Dicom = False,
    corrected: Annotated[
        bool,
        input_option("--corrected", help="A reader corrected the masks; every report says so."),
    ] = False,
    private: Private = False,
    private_key: PrivateKey = None,
    force: Force = False,
    keep: Keep = False,
) -> None:
    """Measure masks from any tool: volume curve, EF, strain, sizes, report. No network runs.

    Of ED and ES alone, two files of one still each or one file of two frames, the volumes of these
    two give the EF; likewise where only two frames of a clip have masks.

    Exit codes: 0 there is an EF; 1 there is none, the report says why; 2 nothing was written.
    """
    from echoseg.cli.analyze import write_dicom_objects
    from echoseg.cli.table import show_analysis
    from echoseg.inference.analysis import analyze_masks
    from echoseg.io import load_ed_es, load_masks
    from echoseg.io.masks import labeled_pair, pair_clip
    from echoseg.preprocess.sector import blank_outside
    from echoseg.report.writer import check_output, write_results

    names = start_private(private, private_key, output)
    alias, clip_alias = (names and path and names.name(path) for path in (masks[0], clip))
    if names is not None:
        list(map(names.name, masks))
    if len(masks) > 2:
        raise ArgumentError(f"give one file of masks, or two: ED, then ES; got {len(masks)}")
    replace = replacing(force, keep)
    backup = check_output(output, replace)
    _check_clip(clip, dicom=dicom, allow_damaged=allow_damaged)
    limits: dict[str, Any] = dict(max_decoded_gib=max_decoded, allow_outside=allow_outside)
    if len(masks) == 2:
        known: dict[str, Any] = dict(spacing_mm=spacing_mm, view=view, alias=alias)
        opened, labels = load_ed_es(*masks, allow_outside=allow_outside, **known)
    else:
        known = dict(spacing_mm=spacing_mm, fps=fps, view=view, alias=alias)
        opened, labels = load_masks(masks[0], **known, **limits, masked_clip=clip)
    if len(labels) == 1:
        raise ArgumentError(
            f"{masks[0]} is one still; EF needs a clip (x, y, t), or ED and ES as two files"
        )
    if clip is not None:
        known = dict(spacing_mm=spacing_mm, fps=fps, view=view, alias=clip_alias)
        known |= dict(allow_damaged=allow_damaged)
        opened, labels = _match_clip(masks[0], opened, labels, clip, {**known, **limits})
        opened = blank_outside(opened) if names else opened
    if (pair := labeled_pair(labels)) is not None:
        opened, labels = pair_clip(opened, pair), labels[list(pair)]
    analysis = analyze_masks(opened, labels, smoothing=smoothing, corrected=corrected)
    folder = write_results(analysis, output, force=replace, pdf=pdf or dicom)
    write_dicom_objects(folder, [clip or masks[0]], dicom)
    show_analysis(analysis, folder)
    show_backup(backup)
    if analysis.ef.kind == "none":
        raise typer.Exit(1)


def _match_clip(
    path: Path, masks_clip: "Clip", labels: "np.ndarray", clip: Path, options: dict[str, Any]
) -> tuple["Clip", "np.ndarray"]:
    """The clip that masks are of, and the masks of all its frames."""
    from echoseg.clip import Annotation
    from echoseg.io import load_clip
    from echoseg.io.arbitration import add_scale
    from echoseg.io.dicom_seg import check_refers
    from echoseg.io.masks import fill_frames

    check_refers(path, clip)
    opened = add_scale(load_clip(clip, **options), masks_clip.spacing_mm, "spacing of the masks")
    is_whole = len(labels) == opened.num_frames + len(opened.damaged_frames)
    if masks_clip.format_name == "dicom masks" or is_whole:
        labels = fill_frames(labels, opened)
    Annotation(masks=labels).check_fits(opened)
    return opened, labels


def _check_clip(clip: Path | None, *, dicom: bool, allow_damaged: bool) -> None:
    """Check, before long work, that the clip is given where it is needed, and can be written to."""
    if allow_damaged and clip is None:
        raise ArgumentError("--allow-damaged is of the clip; give it by --clip, or leave it out")
    if not dicom:
        return
    from echoseg.dicom.source import read_source

    if clip is None:
        raise ArgumentError(
            "--dicom needs the clip, whose patient and study the objects belong to; give --clip"
        )
    read_source(clip)
