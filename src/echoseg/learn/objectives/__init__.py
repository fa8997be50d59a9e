"""Ways of learning, one a file; see `objective` for what each must say."""

from echoseg.learn.objectives.bcp import BidirectionalCopyPaste
from echoseg.learn.objectives.cross_pseudo import CrossPseudo
from echoseg.learn.objectives.fixmatch import FixMatch, UniMatch
from echoseg.learn.objectives.mean_teacher import MeanTeacher, UncertaintyMeanTeacher
from echoseg.learn.objectives.mssnet import MSSNetObjective
from echoseg.learn.objectives.objective import Objective
from echoseg.learn.objectives.supervised import Supervised

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
