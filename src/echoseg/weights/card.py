"""What a checkpoint says of itself, read without torch: its network, its licence, its accuracy."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from echoseg.errors import ModelError

FORMAT_VERSION = "1"
SHIPPED = ("camus", "phantom")
DEFAULT_MODEL = "camus"


class Card(BaseModel):
    """What a reader must know of a checkpoint before using it.

    Each `*_dice` is measured, on the data its name says, by `echoseg.evaluation.run`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    """Key in `models.MODELS`."""
    image_size: int
    """Side of the square the clip is letterboxed into, in pixels."""
    licence: str
    """SPDX name of the weights' licence."""
    notice: str = ""
    """One line printed at every run; empty when none is needed."""
    trained_on: str
    """Data, in words."""
    recipe: str
    """Command, seed, commit and machine that made it."""
    camus_validation: dict[str, float] = {}
    """Mean Dice on the CAMUS validation patients (A4C, ED and ES) by structure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint's card without its weights."""

    name: str
    path: Path
    sha256: str
    card: Card
    config: dict[str, Any]


def find_checkpoint(name_or_path: str = DEFAULT_MODEL, *, field: str = "model") -> Path:
    """Return the file of a shipped checkpoint, or the path given; a refusal names `field`.

    Raises:
        ModelError: If neither a shipped name nor a file.
    """
    if name_or_path in SHIPPED:
        return Path(str(files("echoseg") / "weights" / f"{name_or_path}.safetensors"))
    path = Path(name_or_path)
    if not path.is_file():
        raise ModelError(
            f"{field} must be one of {', '.join(SHIPPED)} or a .safetensors file, "
            f"got {name_or_path!r}"
        )
    return path


def read_card(path: Path) -> Checkpoint:
    """Read a checkpoint's card without its weights, and without torch.

    Raises:
        ModelError: If the file is no checkpoint of echoseg.
    """
    try:
        data = path.read_bytes()
        header_length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header_length])["__metadata__"]
        if metadata["echoseg_format"] != FORMAT_VERSION:
            raise ModelError(
                f"model {path} has format {metadata['echoseg_format']}, this version of echoseg "
                f"reads {FORMAT_VERSION}; update echoseg"
            )
        card = Card.model_validate_json(metadata["card"])
        config = json.loads(metadata["config"])
    except (OSError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise ModelError(
            f"model {path} is not a checkpoint written by echoseg; give one of "
            f"{', '.join(SHIPPED)} or a file that echoseg trained"
        ) from error
    return Checkpoint(
        name=path.stem,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        card=card,
        config=config,
    )
