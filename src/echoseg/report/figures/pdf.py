"""`report.pdf`: the content of a report on A4 sheets, tagged (PDF/UA-1), by Typst.

Typst is one wheel without system libraries, and sets a sheet in milliseconds. Its fonts are the
ones that matplotlib brings, so that every machine writes the same bytes.
"""

import json
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from echoseg.report.figures.content import Content

_STANDARD = "ua-1"
_ALWAYS_THERE = 0x250
"""Code points below it are in the font: Latin with its accents."""


def report_pdf(content: Content) -> bytes:
    """Write the sheets; equal content gives equal bytes."""
    # a name may hold what the font lacks, and PDF/UA allows no missing glyph
    plain = json.dumps(content, default=list, ensure_ascii=False)
    text = "".join(
        one if ord(one) < _ALWAYS_THERE or ord(one) in _glyphs() else "?" for one in plain
    )
    compiler, template = _compiler()
    inputs = {"content": text}
    return compiler.compile(template, format="pdf", pdf_standards=_STANDARD, sys_inputs=inputs)


@cache
def _compiler() -> tuple[Any, bytes]:
    """The compiler with its fonts, and the template."""
    import typst

    template = files("echoseg.report").joinpath("templates/report.typ").read_bytes()
    fonts = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(_font_folder())]
    )
    return typst.Compiler(font_paths=fonts), template


def _font_folder() -> Path:
    spec = find_spec("matplotlib")
    (folder,) = spec.submodule_search_locations or [""] if spec else [""]
    return Path(folder) / "mpl-data" / "fonts" / "ttf"


@cache
def _glyphs() -> frozenset[int]:
    """Code points that the regular, the bold and the italic font have."""
    from fontTools.ttLib import TTFont

    names = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique")
    tables = [TTFont(_font_folder() / f"{name}.ttf").getBestCmap() or {} for name in names]
    return frozenset(set(tables[0]).intersection(*tables[1:]))
