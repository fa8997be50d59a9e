"""Names of labels in annotation tools, and label maps of named regions."""

from collections.abc import Callable, Iterable

import numpy as np

from echoseg.clip import Label
from echoseg.errors import Unfit

NAMES = {
    Label.LV_CAVITY: "LV cavity",
    Label.LV_MYOCARDIUM: "LV myocardium",
    Label.LA_CAVITY: "left atrium",
}
"""Names that are written."""
_UNDERSTOOD = {
    Label.LV_CAVITY: "lv cavity, lv, left ventricle, lv endo, endocardium, cavity",
    Label.LV_MYOCARDIUM: "lv myocardium, myocardium, lv wall, wall, lv epi, epicardium",
    Label.LA_CAVITY: "left atrium, la, atrium, la cavity",
}
Region = tuple[Label, Callable[[], np.ndarray]]
"""A label, and what gives its pixels, bool in the shape of the label map."""
_LABEL_OF = {name: label for label, names in _UNDERSTOOD.items() for name in names.split(", ")}


def label_of(name: str) -> Label | None:
    """The label of a name in any spelling that is understood, else None."""
    return _LABEL_OF.get(" ".join(name.lower().replace("_", " ").split()))


def named_label(name: str) -> Label:
    """The label of a name.

    Raises:
        Unfit: If it is not understood.
    """
    label = label_of(name)
    if label is None:
        raise Unfit(
            f"a label must be one of {', '.join(NAMES.values())}, or a usual name of them, and one "
            "of it is another; rename it in the tool, or delete it"
        )
    return label


def paint(mask: np.ndarray, regions: Iterable[Region]) -> None:
    """Draw regions into a label map, the atrium first and the cavity last.

    So a contour of the epicardium may enclose the cavity, as tools draw it. Of the regions, of
    which a small file may have many, one at a time is in memory.
    """
    for label, region in sorted(regions, key=lambda one: -int(one[0])):
        mask[region()] = label


def polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels `H W` bool whose centers are inside a polygon `N 2` of (x, y).

    As in COCO and CVAT, the center of the first pixel is at (0.5, 0.5).
    """
    from skimage.draw import polygon as fill

    region = np.zeros(size, bool)
    region[fill(points[:, 1] - 0.5, points[:, 0] - 0.5, size)] = True
    return region
