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
    """A message without what names a command-line option, which is for the terminal.

    Options stand in a clause of their own, such as `Give --view (view) if the clip shows one.`
    """
    clauses = re.split(r"(?<=[.;])\s+", message)
    text = " ".join(clause for clause in clauses if not re.search(r"--[a-z]", clause))
    return re.sub(r"[;,]$", ".", text)


def quantity(value: float | None, unit: str, missing: str = "", digits: int = 0) -> str:
    """A value with its unit, or what to print where there is none."""
    return missing if value is None else f"{value:.{digits}f}\u00a0{unit}"


def keep_units(text: str) -> str:
    """A text whose numbers are never broken from their units."""
    return re.sub(rf"(?<=\d) (?={_UNITS})", "\u00a0", text)
