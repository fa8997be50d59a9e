"""Entry points of `torch.hub.load(REPOSITORY, "camus")`. Research software, not a medical device.

The package must be installed (`pip install .`): torch.hub does not install what it loads.
"""

dependencies = ["torch", "echoseg"]


def camus(device: str = "cpu"):
    """MSSNet trained on CAMUS (CC BY-NC-SA 4.0, non-commercial), in evaluation mode."""
    from echoseg import load_model

    return load_model("camus", device=device)[0]


def camus_nano(device: str = "cpu"):
    """A smaller MSSNet, distilled from camus (CC BY-NC-SA 4.0, non-commercial)."""
    from echoseg import load_model

    return load_model("camus-nano", device=device)[0]


def phantom(device: str = "cpu"):
    """A recurrent U-Net trained on simulated hearts, in evaluation mode; masks only, no EF."""
    from echoseg import load_model

    return load_model("phantom", device=device)[0]
