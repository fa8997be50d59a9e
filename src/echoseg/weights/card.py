"""The card of a checkpoint, read without torch: network, licence, training data, accuracy."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from re import fullmatch
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from echoseg.clip import View
from echoseg.errors import ModelError, Unfit
from echoseg.untrusted import Line, check_regular, parse_json, reading

FORMAT_VERSION = "2"
"""Format that is written; 1 is still read: there `provenance` was called `recipe`."""
SHIPPED = ("camus", "camus-nano", "phantom")
DEFAULT_MODEL = "camus"
_MAX_HEADER_BYTES = 2**26
ImageSide = Annotated[int, Field(ge=16, le=2048)]
"""Side of a network's square input, in pixels."""


class ModelCard(BaseModel):
    """What a reader must know about weights before using them.

    The last four fields are not stored in the header of the file: they are the file's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Line
    """Key in `models.MODELS`, or `package.module:Class`."""
    image_size: ImageSide
    """Side of the square into which frames are letterboxed, in pixels."""
    licence: Line
    """SPDX name of the weights' licence."""
    notice: Line = ""
    """One line printed at every run; empty when none is needed."""
    views: Annotated[tuple[View, ...], Field(min_length=1)] = (View.A4C,)
    """Views it was trained on; A4C for a file without this field."""
    trained_on: Line = ""
    """Training data, in words."""
    provenance: Line = ""
    """Command, seed, commit and machine of the training run."""
    camus_validation: dict[str, float] = {}
    """Scores on the CAMUS validation patients (ED and ES), as `echoseg evaluate` gives them: mean
    Dice under `lv_endo`, `lv_epi`, `la`, mean absolute EF error under `ef_mae_points` of A4C; those
    of A2C begin with `a2c_`."""
    ef_unsupported_because: Line = ""
    """Why no EF is stated from the masks of these weights, in a sentence; empty: an EF is."""
    name: str = ""
    """Name under which `echoseg models` lists it, or the stem of the file's name."""
    path: Path = Path()
    sha256: str = ""
    """Of the whole file, hex."""
    config: dict[str, Any] = {}
    """Fields of the network's config object."""

    def header(self) -> dict[str, str]:
        """The metadata of a checkpoint's file."""
        return {
            "echoseg_format": FORMAT_VERSION,
            "card": self.model_dump_json(exclude={"name", "path", "sha256", "config"}),
            "config": json.dumps(self.config),
        }


def find_checkpoint(name_or_path: str = DEFAULT_MODEL, *, field: str = "model") -> Path:
    """Find the file of a shipped checkpoint, or check that the path is one.

    Args:
        name_or_path: One of `SHIPPED`, a path, or `hf:OWNER/NAME` on the Hugging Face Hub.
        field: Option or config field that holds the name, for the message.

    Raises:
        ModelError: If it is neither a shipped name nor a file.
    """
    if not isinstance(name_or_path, str | Path):
        raise TypeError(
            f"{field} must be a name or the path of a .safetensors file, got a "
            f"{type(name_or_path).__name__}; of a trained network give the checkpoint's path"
        )
    if name_or_path in SHIPPED:
        return Path(str(files("echoseg") / "weights" / f"{name_or_path}.safetensors"))
    if str(name_or_path).startswith("hf:"):
        from echoseg.weights.hub import fetch

        return fetch(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file() and fullmatch(r"[\w.]+:[\w.]+", str(path)):
        raise ModelError(
            f"{field} {name_or_path!r} is a class, which has no trained weights; give a "
            ".safetensors file that echoseg train wrote for it"
        )
    if not path.is_file():
        missing = ", which is not there" if path.suffix == ".safetensors" else ""
        raise ModelError(
            f"{field} must be one of {', '.join(SHIPPED)} or a .safetensors file, "
            f"got {name_or_path!r}{missing}"
        )
    return path


def read_card(path: str | Path) -> ModelCard:
    """Read the card of a checkpoint without its weights, and without torch.

    Raises:
        ModelError: If the file is not a checkpoint of echoseg.
    """
    path = Path(path)
    way_out = f"give one of {', '.join(SHIPPED)} or a file that `echoseg train` wrote"
    with reading(path, ModelError, "is not a checkpoint of echoseg", way_out):
        header, sha256 = _header(path)
        metadata = header["__metadata__"]
        if metadata["echoseg_format"] not in ("1", FORMAT_VERSION):
            raise ModelError(
                f"model {path} has format {metadata['echoseg_format']:.8}, this version of echoseg "
                f"reads up to {FORMAT_VERSION}; update echoseg"
            )
        fields = parse_json(metadata["card"])
        if metadata["echoseg_format"] == "1":
            fields["provenance"] = fields.pop("recipe", "")
        if "guidance.local.weight" in header:
            raise ModelError(
                f"model {path} is of the first MSSNet, which echoseg ran up to version 0.2; train "
                "it anew, or use that version"
            )
        config = parse_json(metadata["config"])
        return ModelCard(**fields, name=path.stem, path=path, sha256=sha256, config=config)


def _header(path: Path) -> tuple[dict[str, Any], str]:
    """The header of a safetensors file, and the hash of the whole file."""
    with check_regular(path).open("rb") as file:
        num_bytes = int.from_bytes(file.read(8), "little")
        if num_bytes > _MAX_HEADER_BYTES:
            raise Unfit("it has no header of safetensors")
        header = parse_json(file.read(num_bytes))
        file.seek(0)
        return header, hashlib.file_digest(file, "sha256").hexdigest()
