"""Metrics: masks against masks (`segmentation`), numbers against numbers (`agreement`)."""

from echoseg.metrics.segmentation import MaskComparison, compare_masks, dice

__all__ = ["MaskComparison", "compare_masks", "dice"]
