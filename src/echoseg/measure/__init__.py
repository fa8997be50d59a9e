"""NUMBERS. Masks in, clinical values out; no network."""

from echoseg.measure.stills import measure_ed_es
from echoseg.measure.volumes import ejection_fraction

__all__ = ["ejection_fraction", "measure_ed_es"]
