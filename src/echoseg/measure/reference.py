"""Normal ranges and grades of measured values, each with the name of the scheme it comes from.

Reference:
    Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: normal values of adults, mean +- 2 SD.
    Bozkurt et al., Eur J Heart Fail 23 (2021), 352-380: classes of heart failure by EF.
"""

from dataclasses import dataclass

ASE_2015 = "ASE/EACVI 2015, adults"
HEART_FAILURE_2021 = "universal definition of heart failure 2021, classes by EF"


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalRange:
    """Lower and upper limit for men and for women, in the unit of the value."""

    men: tuple[float, float]
    women: tuple[float, float]
    scheme: str


NORMAL_RANGES = {
    "ef_percent": NormalRange(men=(52, 72), women=(54, 74), scheme=f"{ASE_2015}, biplane"),
    "edv_ml": NormalRange(men=(62, 150), women=(46, 106), scheme=f"{ASE_2015}, biplane"),
    "esv_ml": NormalRange(men=(21, 61), women=(14, 42), scheme=f"{ASE_2015}, biplane"),
    "lv_mass_g": NormalRange(men=(96, 200), women=(66, 150), scheme=f"{ASE_2015}, 2D method"),
}
"""Keys of `Measurement` that have a published range.

Contour strain has none: the guidelines' ranges are for speckle tracking.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class EfGrade:
    """Class of an EF, and the scheme that names it."""

    name: str
    scheme: str = HEART_FAILURE_2021


def ef_grade(ef_percent: float) -> EfGrade:
    """Grade an EF by `HEART_FAILURE_2021`: reduced up to 40, preserved from 50.

    The scheme speaks in whole percent, so EF is rounded first. It grades patients who have heart
    failure; neither a normal nor a reduced EF is a diagnosis.
    """
    whole = round(ef_percent)
    if whole <= 40:
        return EfGrade(name="reduced")
    return EfGrade(name="mildly reduced" if whole < 50 else "preserved")
