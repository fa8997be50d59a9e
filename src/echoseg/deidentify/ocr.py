"""Words that tesseract reads in a picture, where it is installed: a check apart from our own."""

import os
import shutil
import subprocess
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from echoseg.errors import MeasurementError
from echoseg.preprocess.burned_in import TextBox

_MIN_LETTERS, _MIN_CONFIDENCE = 4, 60
_MIN_LETTERS_SURE, _SURE = 3, 90
"""Speckle is read as shorter words, and less surely."""
_ENLARGED = 2
_MAX_TIME_S = 120


def read_words(picture: np.ndarray) -> list[TextBox] | None:
    """Find words in a picture, `H W` uint8; None where tesseract is not installed.

    A word has 4 letters or digits that tesseract is 60 % sure of, or 3 at 90 %.

    Raises:
        MeasurementError: If tesseract fails, so that nothing is known of the picture.
    """
    program = shutil.which("tesseract")
    if program is None:
        return None
    rows, columns = picture.shape
    with TemporaryDirectory() as folder:
        place = os.path.join(folder, "static.png")
        Image.fromarray(picture).resize((_ENLARGED * columns, _ENLARGED * rows)).save(place)
        command = [program, place, "-", "--psm", "11", "tsv"]
        try:
            done = subprocess.run(
                command, capture_output=True, check=True, text=True, timeout=_MAX_TIME_S
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise MeasurementError(
                f"tesseract could not check the picture ({type(error).__name__}), so it is not "
                "copied; mend its installation, or remove it to go without this check"
            ) from error
    table = [line.split("\t") for line in done.stdout.splitlines()[1:]]
    return [_box(row) for row in table if len(row) == 12 and _is_word(row[11], float(row[10]))]


def _is_word(text: str, confidence: float) -> bool:
    letters = sum(map(str.isalnum, text))
    is_long = letters >= _MIN_LETTERS and confidence > _MIN_CONFIDENCE
    return is_long or (letters >= _MIN_LETTERS_SURE and confidence > _SURE)


def _box(row: list[str]) -> TextBox:
    left, top, width, height = (int(number) for number in row[6:10])
    ends = -(-(top + height) // _ENLARGED), -(-(left + width) // _ENLARGED)
    return TextBox(top // _ENLARGED, left // _ENLARGED, *ends)
