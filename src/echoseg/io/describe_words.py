"""Words of headers that may be repeated: names of standards, never texts of the file itself."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple


class Header(NamedTuple):
    """What a header states.

    Attributes:
        sections: Per part of it, name and value: numbers, and words of a standard.
        identity: Names of its fields that may identify a patient and are filled.
    """

    sections: dict[str, dict[str, Any]]
    identity: list[str]


TEXTS = frozenset(
    "title artist author comment comments description copyright album date creation_time location "
    "composer performer software make model datetime subject keywords name synopsis warning source "
    "xmp exif handler_name service_name service_provider show genre publisher imagedescription "
    "hostcomputer documentname pagename xptitle xpcomment xpauthor xpkeywords xpsubject "
    "usercomment cameraownername bodyserialnumber makernote imageuniqueid".split()
)
"""Keys of texts in containers and pictures, EXIF tags too, in lower case."""
_TECHNICAL = frozenset(
    "major_brand minor_version compatible_brands language vendor_id encoder duration loop dpi "
    "background transparency resolution gamma srgb chromaticity bbox default_image timestamp blend "
    "disposal version jfif jfif_version jfif_unit jfif_density compression".split()
)
_NO_TEXTS = frozenset({"VideoHandler", "SoundHandler", "GPAC ISO Video Handler"})
_NUMBERS = re.compile(r"[+\-]?\d*[.,]?\d*(?:[eE][+\-]?\d+)?")
_MAX_PARTS, _MAX_LETTERS = 16, 24
_WORDS = frozenset(
    "ORIGINAL DERIVED PRIMARY SECONDARY 0001 0002 0003 0004 0008 0010 0011 0020 0021 0040 0100 "
    "0200 0400 0441 GRAYSCALE COLOR VOLUME 3D MPR OTHER "
    "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_422 YBR_PARTIAL_420 YBR_ICT "
    "YBR_RCT ARGB PALETTE YES NO ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_13818_2 ISO_14496_10 "
    "ISO_10646 TRUE FALSE LOCAL MINMAX LINEAR LINEAR_EXACT SIGMOID PATIENT DISPLAY BRIGHTNESS "
    "DOPPLER US IVUS OT XC ES SC GM DOC VIDEO CT MR NM PT XA RF CR DX MG IO PX OP SM ECG SR SEG PR "
    "KO RAS LPS RAI LPI ISO_IR ISO IR GB18030 GBK MOTION UNKNOWN NAN INF HEART SECTOR_PHASED "
    "SECTOR_MECH CURVED_LINEAR".split()
)
"""Defined terms of PS3.3 and of MetaImage."""


def word(value: object, more: Iterable[str] = ()) -> str:
    """Numbers and defined terms as they are; other words are only counted."""
    terms = _WORDS | set(more)
    repeated, num_others = [], 0
    for part in re.split(r"[\s\\]+", str(value).strip())[:_MAX_PARTS]:
        if part.upper() in terms or part in terms or _NUMBERS.fullmatch(part):
            repeated.append(part[:_MAX_LETTERS])
        else:
            num_others += 1
    others = f"({num_others} other word{'s' * (num_others > 1)}, not shown)"
    return " ".join([*repeated, *([others] if num_others else [])])


def filled(metadata: dict[str, Any]) -> list[str]:
    """Known names of texts in the metadata of a container or picture, and how many others."""
    keys = {str(key).lower() for key, value in metadata.items() if value and value not in _NO_TEXTS}
    others = keys - TEXTS - _TECHNICAL
    return sorted(keys & TEXTS) + ([f"other keys: {len(others)}"] if others else [])
