"""Clips, masks and contours as layers of napari, and back."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, Label, View
from echoseg.errors import ArgumentError
from echoseg.inference.analysis import Analysis, analyze_masks
from echoseg.io import load_clip
from echoseg.io.label_names import NAMES
from echoseg.io.masks import labeled_pair, pair_clip
from echoseg.measure.clean import clean_masks
from echoseg.report.figures import content
from echoseg.report.schema import DISCLAIMER, build_report
from napari_echoseg.contours import COLORS, contour_masks, mask_contours

LayerData = tuple[Any, dict[str, Any], str]
"""Data, attributes and type of a layer, as napari's readers give them."""
KEY = "echoseg"
"""In a layer's metadata: a `Clip` of an image, `Known` of labels and shapes."""
_LABEL_COLORS = {
    Label.LV_CAVITY: COLORS["LV cavity"],
    Label.LV_MYOCARDIUM: COLORS["LV epicardium"],
    Label.LA_CAVITY: COLORS["left atrium"],
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What is known of the masks in a layer, before anything was edited.

    Attributes:
        masks: The masks, `(T, H, W)` uint8.
        analysis: The result they are of; None if it is not at hand.
        clip_sha256: Hash of the clip's source; empty if it is not known.
        is_corrected: A reader had corrected them already.
        spacing_mm: (row, column) pixel spacing; None when unknown.
        frame_rate_hz: Frame rate; None when unknown.
    """

    masks: np.ndarray
    analysis: Analysis | None = None
    clip_sha256: str = ""
    is_corrected: bool = False
    spacing_mm: tuple[float, float] | None = None
    frame_rate_hz: float | None = None


class Statements(NamedTuple):
    """What the user states of a clip; None: what the file says."""

    view: View | None = None
    spacing_mm: tuple[float, float] | None = None
    fps: float | None = None


def clip_layer(clip: Clip, name: str) -> LayerData:
    """An image layer of a clip: axes frame, row and column, the last two in mm where known."""
    attributes = {"name": name, "colormap": "gray", "metadata": {KEY: clip}}
    return clip.frames, attributes | _axes(clip.spacing_mm), "image"


def labels_layer(known: Known, name: str) -> LayerData:
    """A labels layer that can be painted."""
    from napari.utils import DirectLabelColormap

    colors = {None: "transparent", 0: "transparent"} | {
        int(label): color for label, color in _LABEL_COLORS.items()
    }
    attributes = {
        "name": name,
        "opacity": 0.4,
        "colormap": DirectLabelColormap(color_dict=colors),
        "features": {"index": list(Label), "name": ["background", *NAMES.values()]},
        "metadata": {KEY: known},
    }
    return known.masks.copy(), attributes | _axes(known.spacing_mm), "labels"


def contours_layer(known: Known, name: str) -> LayerData:
    """A shapes layer of polygons, three per frame, that can be moved, deleted and added."""
    masks = clean_masks(known.masks)
    polygons, names = mask_contours(masks)
    attributes = {
        "name": name,
        "shape_type": "polygon",
        "features": {"structure": names},
        "feature_defaults": {"structure": "LV cavity"},
        "edge_color": [COLORS[one] for one in names],
        "face_color": "transparent",
        "edge_width": 0.8,
        "ndim": 3,
        "metadata": {KEY: replace(known, masks=masks)},
    }
    return polygons, attributes | _axes(known.spacing_mm), "shapes"


def _axes(spacing_mm: tuple[float, float] | None) -> dict[str, Any]:
    """Scale and names of the axes; the frame number stays whole, since frames have uneven times."""
    unit = "mm" if spacing_mm else "pixel"
    return {
        "scale": (1.0, *(spacing_mm or (1.0, 1.0))),
        "units": ("pixel", unit, unit),
        "axis_labels": ("frame", "row", "column"),
    }


def layer_clip(data: Any, attributes: dict[str, Any], stated: Statements) -> Clip:
    """The clip of an image layer.

    One that echoseg read is read anew where something is stated of it, so that it is what a command
    with the same options would read; any other layer is an array.

    Raises:
        EchosegError: If it is not a clip, or what is stated is out of range.
    """
    known = attributes["metadata"].get(KEY)
    if isinstance(known, Clip) and known.frames is data:
        if stated == Statements():
            return known
        return load_clip(known.source, **stated._asdict(), allow_damaged=bool(known.damaged_frames))
    if np.ndim(data) < 3:
        raise ArgumentError(
            f"a clip must be a layer of (frame, row, column), {attributes['name']} has "
            f"{np.ndim(data)} axes; open a clip"
        )
    if stated.spacing_mm is None:
        stated = stated._replace(spacing_mm=_scale_mm(attributes))
    return load_clip(np.asarray(data), **stated._asdict())


def _scale_mm(attributes: dict[str, Any]) -> tuple[float, float] | None:
    """(row, column) pixel spacing of a layer whose units are lengths, else None."""
    pairs = zip(attributes["scale"][-2:], attributes["units"][-2:], strict=True)
    values = [(float(scale) * unit) for scale, unit in pairs]
    if not all(value.is_compatible_with("mm") for value in values):
        return None
    row, column = (value.to("mm").magnitude for value in values)
    return row, column


def layer_masks(data: Any, attributes: dict[str, Any]) -> np.ndarray:
    """The label maps `(T, H, W)` uint8 of a labels or shapes layer.

    Raises:
        ArgumentError: If it holds other labels, other shapes than polygons, or contours of masks
            that are not known.
    """
    name, known = attributes["name"], layer_known(attributes)
    if isinstance(data, list):
        if known is None:
            raise ArgumentError(
                f"contours must be made by the button Contours, {name} has no masks to change"
            )
        kinds = set(attributes["shape_type"]) - {"polygon"} if len(data) else set()
        if kinds:
            raise ArgumentError(
                f"the shapes in {name} must be polygons, one is of the type {sorted(kinds)[0]}; "
                "delete it, or draw a polygon"
            )
        structures = [str(one) for one in attributes["features"]["structure"]]
        return contour_masks(known.masks, [np.asarray(one, float) for one in data], structures)
    masks = np.asarray(data)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.size and not 0 <= masks.min() <= masks.max() <= max(Label):
        names = ", ".join(f"{int(label)} {text}" for label, text in NAMES.items())
        raise ArgumentError(
            f"the labels in {name} must be 0 background, {names}, got {masks.min()} to "
            f"{masks.max()}; paint with these alone"
        )
    return masks.astype(np.uint8)


def layer_known(attributes: dict[str, Any]) -> Known | None:
    """What is known of a layer's masks; None of a layer that echoseg did not make."""
    known = attributes["metadata"].get(KEY)
    return known if isinstance(known, Known) else None


def measure(clip: Clip, masks: np.ndarray, known: Known | None) -> Analysis:
    """Measure the masks of a clip, as `echoseg measure --clip CLIP` does.

    Unedited masks of an analysis give that analysis; edited ones are marked as corrected.

    Raises:
        EchosegError: If they are of another clip or size, or are not label maps.
    """
    if known and known.clip_sha256 and known.clip_sha256 != clip.source_sha256:
        raise ArgumentError(
            "the masks must be of the clip that is chosen, they were made from another file; "
            "choose both of one clip"
        )
    is_edited = known is not None and not np.array_equal(masks, known.masks)
    if known and known.analysis and not is_edited and _is_same(clip, known.analysis.clip):
        return known.analysis
    corrected = known is not None and (known.is_corrected or is_edited)
    if clip.frames.shape == masks.shape and (pair := labeled_pair(masks)) is not None:
        clip, masks = pair_clip(clip, pair), masks[list(pair)]
    return analyze_masks(clip, masks, corrected=corrected)


def _is_same(one: Clip, other: Clip) -> bool:
    return (one.view, one.spacing_mm, one.frame_rate_hz) == (
        other.view,
        other.spacing_mm,
        other.frame_rate_hz,
    )


def describe(analysis: Analysis) -> str:
    """A result in words, as every report has them."""
    report = build_report(analysis)
    stated = content.statement(analysis.ef, "")
    lines = [analysis.ef.text, *stated["lines"], stated["reason"]]
    lines += [f"{name}: {value}" for name, value in content.key_values(analysis, report)]
    lines += content.reading_lines(report)
    lines += content.alerts(analysis.warnings, analysis.measurement.refusal)
    return "\n".join([DISCLAIMER, *filter(None, lines)])
