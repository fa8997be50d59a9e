"""Exceptions a caller may catch.

```
EchosegError            any error that echoseg reports, in one or two sentences
├── ArgumentError       an argument of the wrong shape, type or range; a ValueError too
├── ConfigError         a setting is out of range
├── FormatError         a file cannot be read as a clip
│   ├── DamagedError    the file is partially readable
│   ├── NotAClipError   the file is whole and holds something else
│   └── TooLargeError   decoded it would exceed the limit
├── DatasetError        a data set's folder is not as documented
├── MeasurementError    a clinical value cannot be computed from these masks
├── ModelError          a checkpoint is missing, broken or of another kind
└── OutputError         a result cannot be written
```
"""

import os
import zlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING
from zipfile import BadZipFile

if TYPE_CHECKING:
    from pydantic import ValidationError


_MAX_TEXT, _MAX_END = 1500, 300


class EchosegError(Exception):
    """Base of all errors; the text names the field, the rule, the value and the way out."""

    def __str__(self) -> str:
        """The text on one line, of a limited length, since it may name what a file holds."""
        text = " ".join(super().__str__().splitlines())
        if len(text) <= _MAX_TEXT:
            return text
        return f"{text[: _MAX_TEXT - _MAX_END]} ... {text[-_MAX_END:]}"


class ArgumentError(EchosegError, ValueError):
    """An argument has the wrong shape, type or range."""


class ConfigError(EchosegError):
    """A setting is out of range."""


class FormatError(EchosegError):
    """A file cannot be read as a clip."""


class DamagedError(FormatError):
    """The file is partially readable.

    Attributes:
        way_out: The end of the message, which may name options of `analyze`.
        damaged_frames: Indices (from 0) of the frames that could not be decoded.
    """

    def __init__(self, fault: str, way_out: str = "", damaged_frames: tuple[int, ...] = ()) -> None:
        super().__init__(f"{fault}; {way_out}" if way_out else fault)
        self.way_out, self.damaged_frames = way_out, damaged_frames


class NotAClipError(FormatError):
    """The file is whole and is not a 2-D clip: a still, a volume, masks, a report."""


class TooLargeError(FormatError):
    """Decoded it would exceed the limit of pixels or bytes."""


class OtherViewError(EchosegError):
    """The pictures of a clip show another view than those that are asked for."""


class DatasetError(EchosegError):
    """A data set's folder is not as documented."""


class MeasurementError(EchosegError):
    """A clinical value cannot be computed from these masks."""


class ModelError(EchosegError):
    """A checkpoint is missing, broken or of another kind."""


class OutputError(EchosegError):
    """A result cannot be written."""


class Unfit(ValueError):
    """What a file holds breaks a rule; the text is in our own words, and none of the file's."""


def printable(text: str) -> str:
    r"""A text that UTF-8 can hold: bytes of a file's name that it cannot become `\xNN`."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def reason_of(error: BaseException) -> str:
    """Why a library failed, in our own words.

    Its text may quote what the file holds, such as a patient's name, so none of it is used; the
    exception itself stays in `__cause__`.
    """
    if isinstance(error, EchosegError | Unfit):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        # PyAV's errors have FFmpeg's numbers and one of its fixed sentences
        return str(error.strerror) if error.errno > 2**16 else os.strerror(error.errno)
    known = {
        MemoryError: "there is not enough memory for it",
        RecursionError: "its parts are nested too deeply",
        EOFError: "it ends too early",
        UnicodeError: "a text in it is not in the stated character set",
        ValueError: "a value in it is not valid",
        LookupError: "a part of it is missing",
        TypeError: "a value in it is of another kind",
        AttributeError: "a value in it is of another kind",
        zlib.error: "its compressed data are broken",
        BadZipFile: "its archive is broken",
    }
    words = next((words for kind, words in known.items() if isinstance(error, kind)), "")
    return words or type(error).__name__


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
        known = f"known are {', '.join(fields)}" if fields else "leave it out"
        hint = f"did you mean {near[0]}?" if near else known
        return f"there is no field {name}; {hint}"
    if first["type"] == "missing":
        return f"{name} must be given"
    rule = rule.replace("Input should", "must")
    if "must" not in rule:
        rule = f"must be valid ({rule})"
    return f"{name} {rule}, got {first.get('input')!r:.80}"
