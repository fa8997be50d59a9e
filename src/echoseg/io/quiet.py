"""What libraries print while they read a file, kept from the user: the clip's own warnings count.

Python's warnings and the logs of the readers' libraries; FFmpeg's log is off where PyAV is used.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("nibabel", "pydicom", "tifffile", "PIL", "h5py", "openjpeg", "highdicom")


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings and logs of libraries meanwhile."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
