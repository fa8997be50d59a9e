"""Which pixels of a clip may stay: those of the ultrasound sector."""

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import MeasurementError
from echoseg.preprocess.sector import find_sector


def sector_of(clip: Clip) -> np.ndarray:
    """The sector of a clip, `H W` bool.

    Raises:
        MeasurementError: If there is none, so that nothing could stay.
    """
    sector = find_sector(clip)
    if sector is None:
        raise MeasurementError(
            f"{clip.source}: no ultrasound sector is found, since no region of the picture "
            "changes; a picture that cannot be cleaned is not copied"
        )
    return sector.mask


def sector_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask `H W` bool on a grid of another size, which square pixels differ by."""
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(int)
        for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]
