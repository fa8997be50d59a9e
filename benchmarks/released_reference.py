"""Is `experiments.networks.mssnet_released` the published code? Same weights, same clip.

    python benchmarks/released_reference.py PATH_TO_CLONE [--double] [--write JSON]

PATH_TO_CLONE is a clone of https://github.com/SSS666-klk/MSSNet (Apache-2.0), whose code needs
einops beside torch (and timm, whose two names are made up where it is missing). Prints the largest
difference of the outputs and the seconds of each. `--double` does it in float64; then `--write`
writes the published code's outputs at a few places, which test_mssnet_released.py compares with,
without the published code. In float64 it needs 12 GB of memory, else 6.

Weights are drawn by the name that the published code gives them (`drawn`), so no random stream of
torch and no order of parameters matters.
"""

import argparse
import importlib.util
import json
import platform
import sys
import time
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # for experiments

from experiments.networks.mssnet_released import (
    MSSNetReleased,
    MSSNetReleasedConfig,
    from_published,
)

PLACES = [(0, 0), (3, 250), (60, 128), (127, 128), (128, 127), (200, 31), (255, 255)]
"""(row, column) at which the outputs are written down, in every frame."""


def _random(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by numpy


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the float64 weights of a parameter by its published name; n is standard normal.

    Running variances are exp(n / 5); other vectors n / 10, plus 1 for norms' weights; the
    position table n; matrices and kernels n / sqrt(the size of all axes but the first), and three
    times that for queries and keys, so that the attention is far from even.
    """
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    normal = torch.from_numpy(np.asarray(_random(name).standard_normal(shape)))
    if name.endswith("running_var"):
        return (normal / 5).exp()
    if len(shape) == 1:
        return normal / 10 + name.endswith("weight")
    if name.endswith("pos_embed"):
        return normal
    sharper = 3 if name.endswith(("qkv.weight", "q.weight", "kv.weight")) else 1
    return sharper * normal / np.prod(shape[1:]) ** 0.5


def drawn_frames() -> Tensor:
    """Return the clip, `10 1 256 256` float64 in [0, 1]."""
    return torch.from_numpy(_random("frames").random_sample((10, 1, 256, 256)))


def at_places(logits: Tensor) -> list[list[float]]:
    """Return the logits `T 1 H W` at `PLACES`, and their mean, frame by frame."""
    return [
        [*(frame[row, column].item() for row, column in PLACES), frame.mean().item()]
        for frame in logits[:, 0]
    ]


def published_network(clone: Path) -> nn.Module:
    """Return the published code's network; of timm, where it is missing, two names are made up."""
    if importlib.util.find_spec("timm") is None:
        layers: Any = types.ModuleType("timm.models.layers")
        layers.DropPath, layers.trunc_normal_ = nn.Identity, nn.init.trunc_normal_
        for name in ("timm", "timm.models"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["timm.models.layers"] = layers
    spec = importlib.util.spec_from_file_location("published_ssg", clone / "SSG.py")
    if spec is None or spec.loader is None:
        sys.exit(f"no SSG.py in {clone}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SSG()


@torch.inference_mode()
def timed(network: nn.Module, frames: Tensor) -> tuple[Tensor, float]:
    """Return the outputs and the seconds they took."""
    start = time.perf_counter()
    return network(frames), time.perf_counter() - start


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    # the published code makes buffers of the default type
    torch.set_default_dtype(torch.float64 if args.double else torch.float32)
    published = published_network(args.clone).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()}
    published.load_state_dict({name: drawn(name, shape) for name, shape in shapes.items()})
    frames = drawn_frames().to(torch.get_default_dtype())
    expected, seconds = timed(published, frames)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"published: {seconds:.2f} s, outputs {expected.mean():.4f} +- {expected.std():.4f}")
    same = from_published(published.state_dict())
    fused = MSSNetReleased(MSSNetReleasedConfig(num_labels=1, attention="fused"))
    fused.load_state_dict(same.state_dict())
    for name, network in (("released", same), ("fused", fused)):
        logits, seconds = timed(network.eval(), frames[None])
        print(f"ours, {name}: {seconds:.2f} s, off by {(logits[0] - expected).abs().max():.1e}")
    if args.write:
        if not args.double:
            sys.exit("--write needs --double")
        args.write.write_text(json.dumps({"places": PLACES, "logits": at_places(expected)}) + "\n")


if __name__ == "__main__":
    main()
