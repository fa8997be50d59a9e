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
