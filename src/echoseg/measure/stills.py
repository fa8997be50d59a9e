"""Measures two stills, ED and ES, where there is no clip: what CAMUS and most labs have masks of.

There is no curve to smooth and no beat to find: EDV and ESV are the volumes of the two masks.
"""

import numpy as np

from echoseg.clip import ClipWarning, check_spacing
from echoseg.errors import MeasurementError
from echoseg.measure.clean import clean_masks
from echoseg.measure.frame import measure_each
from echoseg.measure.measure import Curves, check_masks, frame_rows, measure_reading
from echoseg.measure.measurement import STILLS, Measurement
from echoseg.measure.messages import mask_warnings
from echoseg.measure.phases import Beat
from echoseg.measure.plausible import scale_warnings, wall_refusal


def measure_ed_es(
    ed: np.ndarray,
    es: np.ndarray,
    *,
    spacing_mm: tuple[float, float] | None = None,
    cavity_only: bool = False,
) -> Measurement:
    """Measure the label maps of ED and ES; volumes by single-plane disks, EF, sizes, strain.

    Examples:
        >>> measure_ed_es(ed, es, spacing_mm=(0.3, 0.3)).ef_percent
        56.1

    Args:
        ed: `(H, W)` uint8, values of `Label`; stray pieces are removed.
        es: The same at ES, of the same picture size and pixel spacing.
        spacing_mm: Pixel spacing (row, column) in mm; when None only EF is given.
        cavity_only: The masks trace the cavity alone, so a missing wall is not implausible.

    Returns:
        A measurement whose frame 0 is ED and frame 1 ES, of no beat. `refusal` says why there is
        no EF: a cavity is missing, has hardly any wall about it, or is not smaller at ES.

    Raises:
        MeasurementError: If the two are not label maps of one shape.
        ArgumentError: If the spacing is not two positive numbers.
    """
    if np.ndim(ed) != 2 or np.shape(ed) != np.shape(es):
        raise MeasurementError(
            f"ED and ES must be label maps (H, W) of one shape, got {np.shape(ed)} and "
            f"{np.shape(es)}; export both on the grid of one picture"
        )
    check_spacing(spacing_mm)
    masks = np.stack([ed, es])
    check_masks(masks)
    frames = measure_each(clean_masks(masks), spacing_mm)
    volumes = np.array([frame.volume for frame in frames])
    warnings = tuple(scale_warnings(frames))
    if warnings:
        spacing_mm = None
    refusal = _refusal(volumes)
    if not refusal and not cavity_only:
        refusal = wall_refusal(frames[:1]) or wall_refusal(frames[1:])
    if refusal:
        return Measurement(
            frames=frame_rows(frames, spacing_mm, None),
            spacing_mm=spacing_mm,
            refusal=refusal,
            warnings=warnings,
            smoothed=False,
        )
    curves = Curves(
        volumes=volumes, filled=volumes, smoothed=volumes, parabola_s=None, frame_s=None
    )
    largest, smallest = volumes.tolist()
    beat = Beat(ed_frame=0, es_frame=1, next_ed_frame=None, largest=largest, smallest=smallest)
    measurement = measure_reading(frames, curves, [beat], (spacing_mm, None))
    message = "EDV and ESV are the volumes of the two stills given as ED and ES."
    return measurement.model_copy(
        update={
            "warnings": (*warnings, *mask_warnings(frames, measurement.ef_percent)),
            "notes": (ClipWarning(code=STILLS, message=message),),
            "num_beats": 0,
            "beats": (),
        }
    )


def _refusal(volumes: np.ndarray) -> str:
    """Why two volumes give no EF; empty otherwise."""
    missing = [name for name, one in zip(("ED", "ES"), volumes, strict=True) if np.isnan(one)]
    if missing:
        return f"there is no left ventricle at {' and '.join(missing)}; EF needs both"
    if volumes[1] == volumes[0]:
        return "the left ventricle is as large at ES as at ED. Give two different frames"
    if volumes[1] > volumes[0]:
        return (
            f"the left ventricle is {100 * (volumes[1] / volumes[0] - 1):.0f} % larger at ES than "
            "at ED. Give ED first, then ES"
        )
    return ""
