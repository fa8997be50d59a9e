"""Exceptions a caller may catch.

```
EchosegError            anything echoseg refuses, in one clear sentence
├── ArgumentError       an argument cannot be what it is given for; a ValueError too
├── ConfigError         a setting is out of its range
├── FormatError         a file cannot be read as a clip
│   └── DamagedError    a part of the file can be read, the rest cannot
├── DatasetError        a data set's layout is not as documented
├── MeasurementError    a clinical value cannot be had from these masks
├── ModelError          a checkpoint is missing, broken or of another kind
└── OutputError         a result cannot be written where it was asked for
```
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class EchosegError(Exception):
    """Anything echoseg refuses; its text names the field, the rule, the value and the way out."""

    def __str__(self) -> str:
        """Return the text on one line: a file's name, or a library's reason, may hold breaks."""
        return " ".join(super().__str__().splitlines())


class ArgumentError(EchosegError, ValueError):
    """An argument cannot be what it is given for: of the wrong shape, type or range."""


class ConfigError(EchosegError):
    """A setting is out of its range."""


class FormatError(EchosegError):
    """A file cannot be read as a clip."""


class DamagedError(FormatError):
    """A part of the file can be read and the rest cannot.

    Attributes:
        damaged_frames: Indices (from 0) of the frames that could not be decoded.
    """

    def __init__(self, message: str, damaged_frames: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.damaged_frames = damaged_frames


class DatasetError(EchosegError):
    """A data set's layout is not as documented."""


class MeasurementError(EchosegError):
    """A clinical value cannot be had from these masks."""


class ModelError(EchosegError):
    """A checkpoint is missing, broken or of another kind."""


class OutputError(EchosegError):
    """A result cannot be written where it was asked for."""


def validation_message(
    error: "ValidationError", within: str = "", fields: Iterable[str] = ()
) -> str:
    """The first problem that pydantic reports, as one sentence: field, rule and value.

    Args:
        error: The validation error.
        within: Field that holds the validated object, such as `architecture`.
        fields: Known field names; the nearest one is suggested for an unknown name.
    """
    first = error.errors()[0]
    rule = first["msg"]
    if first["type"] == "value_error":  # a validator's own sentence
        return rule.removeprefix("Value error, ")
    name = ".".join(map(str, (within, *first["loc"]))).strip(".") or "run"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(first["loc"][-1]), fields := list(fields), 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(fields) or 'none'}"
        return f"there is no field {name}; {hint}"
    if first["type"] == "missing":
        return f"{name} must be given"
    rule = rule.replace("Input should", "must")
    if "must" not in rule:
        rule = f"must be valid ({rule})"
    return f"{name} {rule}, got {first.get('input')!r:.80}"
