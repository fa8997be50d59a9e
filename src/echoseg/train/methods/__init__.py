"""Ways of learning, one a file; see `objective` for what each must say."""

from echoseg.train.methods.base import Objective
from echoseg.train.methods.bcp import BidirectionalCopyPaste
from echoseg.train.methods.cross_pseudo import CrossPseudo
from echoseg.train.methods.fixmatch import FixMatch, UniMatch
from echoseg.train.methods.mean_teacher import MeanTeacher, UncertaintyMeanTeacher
from echoseg.train.methods.mssnet import MSSNetObjective
from echoseg.train.methods.supervised import Supervised

OBJECTIVES: dict[str, type[Objective]] = {
    "bcp": BidirectionalCopyPaste,
    "cross_pseudo": CrossPseudo,
    "fixmatch": FixMatch,
    "mean_teacher": MeanTeacher,
    "mssnet": MSSNetObjective,
    "supervised": Supervised,
    "uncertainty_mean_teacher": UncertaintyMeanTeacher,
    "unimatch": UniMatch,
}
"""Name -> way of learning."""

__all__ = ["OBJECTIVES", "Objective"]
