"""NUMBERS. Masks in, clinical values out; no network."""

from echoseg.measure.volumes import ejection_fraction

__all__ = ["ejection_fraction"]
