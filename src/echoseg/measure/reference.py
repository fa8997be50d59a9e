"""Normal ranges and grades of what is measured, each with the name of the scheme it comes from.

Reference:
    Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: normal values of adults, mean +- 2 SD.
    Bozkurt et al., Eur J Heart Fail 23 (2021), 352-380: classes of heart failure by EF.
"""

from dataclasses import dataclass

ASE_2015 = "ASE/EACVI 2015, adults"
HEART_FAILURE_2021 = "universal definition of heart failure 2021, classes by EF"


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalRange:
    """Lowest and highest normal value of men and of women, in the unit of the measurement."""

    men: tuple[float, float]
    women: tuple[float, float]
    scheme: str


NORMAL_RANGES = {
    "ef_percent": NormalRange(men=(52, 72), women=(54, 74), scheme=f"{ASE_2015}, biplane"),
    "edv_ml": NormalRange(men=(62, 150), women=(46, 106), scheme=f"{ASE_2015}, biplane"),
    "esv_ml": NormalRange(men=(21, 61), women=(14, 42), scheme=f"{ASE_2015}, biplane"),
    "lv_mass_g": NormalRange(men=(96, 200), women=(66, 150), scheme=f"{ASE_2015}, 2D method"),
}
"""Keys of `Measurement` and `Dimensions` that have a published range for what is measured.

Contour strain has none: the guidelines' strain is that of speckle tracking.
"""


def ef_grade(ef_percent: float) -> str:
    """Return the class of an EF by `HEART_FAILURE_2021`: reduced up to 40, preserved from 50.

    The scheme speaks in whole percent, so EF is rounded first. It grades patients who have heart
    failure; a normal EF is no diagnosis, nor is a reduced one.
    """
    whole = round(ef_percent)
    if whole <= 40:
        return "reduced"
    return "mildly reduced" if whole < 50 else "preserved"
