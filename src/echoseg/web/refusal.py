"""Requests that are refused, and errors as the page shows them: plain sentences, no path."""

import re

from starlette.exceptions import HTTPException

from echoseg.errors import ConfigError, EchosegError, OutputError

_PATH = re.compile(r"(?<![\w:/.<])(?:[A-Za-z]:[\\/]|~?/)[^\s:;,'\"()<>]+")
_SERVER_FAULTS = (OutputError, ConfigError)


class Refusal(EchosegError, HTTPException):
    """A request that is refused.

    Args:
        status: HTTP status, 400 to 599.
        message: Plain sentences for whoever reads clips.
        retry_after_s: Seconds after which the request may be sent again.
    """

    def __init__(self, status: int, message: str, retry_after_s: float = 0.0) -> None:
        headers = {"Retry-After": f"{retry_after_s:.0f}"} if retry_after_s else None
        HTTPException.__init__(self, status, message, headers)

    def __str__(self) -> str:
        """The message."""
        return self.detail


def status_of(error: EchosegError) -> int:
    """HTTP status of an error: 500 where the server is at fault, 400 where the request is."""
    if isinstance(error, Refusal):
        return error.status_code
    return 500 if isinstance(error, _SERVER_FAULTS) else 400


def without_paths(text: str) -> str:
    """A message in which every absolute path is `a file`: paths hold names of patients."""
    return _PATH.sub("a file", text)
