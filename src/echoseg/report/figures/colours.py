"""The colours of the borders, the same in every picture."""

from echoseg.clip import Label

CONTOURS: dict[str, tuple[tuple[Label, ...], tuple[int, int, int]]] = {
    "myocardium": ((Label.LV_CAVITY, Label.LV_MYOCARDIUM), (92, 214, 120)),
    "LA": ((Label.LA_CAVITY,), (88, 166, 255)),
    "LV": ((Label.LV_CAVITY,), (255, 138, 61)),
}
"""Name in the legend -> labels inside the border, and its RGB colour; drawn in this order."""
ED_COLOUR = (255, 214, 90)
ES_COLOUR = (200, 150, 255)
"""Marks of ED and ES frames."""
AXIS_COLOUR, DISK_COLOUR = (240, 240, 245), (150, 160, 175)
"""The long axis with the annulus, and the disks of the volume."""
