"""A made-up heart at ED and ES whose pictures show its labels under speckle."""

import numpy as np
from scipy.ndimage import gaussian_filter

from echoseg.clip import Annotation, Clip, View
from echoseg.data import camus_writer
from heart_makers import heart

SIZE, SPACING_MM = (120, 132), (1.25, 1.25)


def sector(size=SIZE):
    """A cone that opens downwards."""
    y, x = np.mgrid[: size[0], : size[1]]
    return (np.abs(x - size[1] / 2) < 6 + 0.62 * y) & (y < size[0] - 3)


def stills(seed=0, half_widths_mm=(22.0, 17.0), lengths_mm=(80.0, 71.0)):
    """Frames and masks of ED and ES, each `2 H W` uint8."""
    rng = np.random.default_rng(seed)
    masks = np.stack(
        [
            heart(width, length, spacing_mm=SPACING_MM, size=SIZE)
            for width, length in zip(half_widths_mm, lengths_mm, strict=True)
        ]
    )
    levels = gaussian_filter(np.array([90.0, 35.0, 140.0, 30.0])[masks], (0, 1.5, 1.5))
    grain = gaussian_filter(rng.standard_normal(masks.shape), (0, 1, 1))
    frames = levels * np.exp(0.2 * grain / grain.std()) * sector()
    return frames.round().clip(0, 255).astype(np.uint8), masks


def write_camus(root):
    """A copy of stills alone, a patient in each split; returns the patients."""
    patients = ["patient0001", "patient0002", "patient0003"]
    for index, patient in enumerate(patients):
        views = {}
        for offset, view in enumerate((View.A2C, View.A4C)):
            frames, masks = stills(10 * index + offset)
            clip = Clip(frames=frames, spacing_mm=SPACING_MM, times_s=np.arange(2.0))
            views[view] = clip, Annotation(masks=masks, ed_frame=0, es_frame=1, quality="Good")
        camus_writer.write_patient(root, patient, views)
        for path in (root / "database_nifti" / patient).iterdir():
            if "half_sequence" in path.name:
                path.unlink()
    camus_writer.write_splits(
        root, dict(zip(camus_writer.SPLITS, [[p] for p in patients], strict=True))
    )
    return patients


def write_training_patients(root, num):
    """CAMUS with training patients alone, each the same stills in both views."""
    patients = [f"patient{index:04d}" for index in range(1, num + 1)]
    for index, patient in enumerate(patients):
        frames, masks = stills(index)
        clip = Clip(frames=frames, spacing_mm=SPACING_MM, times_s=np.arange(2.0))
        annotation = Annotation(masks=masks, ed_frame=0, es_frame=1, quality="Good")
        both = {View.A2C: (clip, annotation), View.A4C: (clip, annotation)}
        camus_writer.write_patient(root, patient, both)
    splits = {key: [] for key in camus_writer.SPLITS} | {camus_writer.SPLITS[0]: patients}
    camus_writer.write_splits(root, splits)
