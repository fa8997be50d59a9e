"""The enums every file speaks in: views, phases, labels."""

from enum import IntEnum, StrEnum


class View(StrEnum):
    """Where the probe looks."""

    A4C = "A4C"
    A2C = "A2C"
    ALAX = "ALAX"
    PLAX = "PLAX"
    PSAX = "PSAX"
    UNKNOWN = "unknown"


class Phase(StrEnum):
    """A moment of the beat: ED, cavity largest; ES, cavity smallest."""

    ED = "ED"
    ES = "ES"


class Label(IntEnum):
    """Value of a mask pixel, as in CAMUS (Leclerc et al., IEEE TMI 38, 2019)."""

    BACKGROUND = 0
    LV_CAVITY = 1
    LV_MYOCARDIUM = 2
    LA_CAVITY = 3
