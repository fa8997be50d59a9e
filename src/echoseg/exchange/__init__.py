"""EXCHANGE. Results for annotation tools, which come back, and networks as bundles of MONAI."""

from echoseg.exchange.results import FORMATS, convert

__all__ = ["FORMATS", "convert"]
