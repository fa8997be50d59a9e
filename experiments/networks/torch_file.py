"""Weights from a foreign torch file, which is a pickle: read by a process of its own.

Run as a script, `torch_file.py IN OUT` writes the tensors under `state_dict` as safetensors. Only
tensors, plain containers and numbers are let in; a hole in that wall would be in a process that
has nothing but two paths, and ends.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

TIMEOUT_S = 300


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name of a torch file's `state_dict`.

    Raises:
        ValueError: If the file is damaged, or holds anything but tensors and numbers.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        try:
            subprocess.run(
                [sys.executable, "-I", __file__, str(path), str(out)],
                check=True,
                capture_output=True,
                timeout=TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            )
            return load_file(out)
        except (subprocess.SubprocessError, OSError) as error:
            raise ValueError(f"{path} is damaged or holds more than tensors") from error


def convert(path: str, out: str) -> None:
    """Write the tensors of a torch file as safetensors."""
    number: Any = np.float64(0).__reduce__()[0]  # EchoNet-Dynamic keeps a loss beside the weights
    kinds = [np.dtype, type(np.dtype("float32")), type(np.dtype("float64"))]
    names = [(number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals([*kinds, *names]):
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, out)


if __name__ == "__main__":
    convert(*sys.argv[1:])
