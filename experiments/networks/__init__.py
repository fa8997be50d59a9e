"""Networks of other papers that only the experiments use."""

from echoseg.models.segmenter import Segmenter
from experiments.networks.mssnet_released import MSSNetReleased

RELEASED = "experiments.networks.mssnet_released:MSSNetReleased"
"""Name under which `TrainConfig.model` and checkpoints find it."""
NETWORKS: dict[str, type[Segmenter]] = {RELEASED: MSSNetReleased}
