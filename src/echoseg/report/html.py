"""HTML pages from the templates in `report/templates`: one file each, nothing fetched."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_UNITS = r"(?:%|ml|mm|cm²|bpm|points|Hz|EDV/s|g|s)(?!\w)"

_STATED = {
    "view": "view",
    "fps": "frame rate",
    "spacing-mm": "pixel spacing",
    "force-view": "override of the view check",
    "private": "option that blackens it",
}
"""What options state, for `plain_words`."""


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("echoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["plain_words"] = plain_words
    environment.filters["keep_units"] = keep_units
    script = files("echoseg.report").joinpath("templates/player.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals["script_hash"] = f"sha256-{digest}"
    environment.globals["script"] = script
    return environment


def render(template: str, **values: Any) -> str:
    """Fill a template of `report/templates`; values are escaped."""
    return _environment().get_template(template).render(**values)


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a `data:` address, such as of a picture inside a page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def plain_words(message: str) -> str:
    """A message in words for a clinician: what an option states in place of the option.

    `Give --view (view) if you know it.` is `Give the view if you know it.`. A clause that names any
    other option or a command, which are for the terminal, is left out.
    """
    message = re.sub(r" \(echoseg [a-z ]+\)", "", message)
    text = re.sub(r"(\bA )?--([a-z-]+)(?: \(\w+\))?", _stated, message)
    clauses = re.split(r"(?<=[.;])\s+", text)
    return re.sub(r"[;,]$", ".", " ".join(one for one in clauses if "--" not in one))


def _stated(option: re.Match[str]) -> str:
    noun = _STATED.get(option[2])
    return option[0] if noun is None else f"{'A stated' if option[1] else 'the'} {noun}"


def quantity(value: float | None, unit: str, missing: str = "", digits: int = 0) -> str:
    """A value with its unit, or what to print where there is none."""
    return missing if value is None else f"{value:.{digits}f}\u00a0{unit}"


def keep_units(text: str) -> str:
    """A text whose numbers are never broken from their units."""
    return re.sub(rf"(?<=\d) (?={_UNITS})", "\u00a0", text)
