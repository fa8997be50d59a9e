"""Training methods, one per file; `base` has their interface."""

from echoseg.train.methods.base import TrainingMethod
from echoseg.train.methods.bcp import BidirectionalCopyPaste
from echoseg.train.methods.cross_pseudo import CrossPseudo
from echoseg.train.methods.fixmatch import FixMatch, UniMatch
from echoseg.train.methods.mean_teacher import MeanTeacher, UncertaintyMeanTeacher
from echoseg.train.methods.mssnet import MSSNetMethod
from echoseg.train.methods.supervised import Supervised

METHODS: dict[str, type[TrainingMethod]] = {
    "bcp": BidirectionalCopyPaste,
    "cross_pseudo": CrossPseudo,
    "fixmatch": FixMatch,
    "mean_teacher": MeanTeacher,
    "mssnet": MSSNetMethod,
    "supervised": Supervised,
    "uncertainty_mean_teacher": UncertaintyMeanTeacher,
    "unimatch": UniMatch,
}
"""Name -> method."""

__all__ = ["METHODS", "TrainingMethod"]
