"""Which clips of a study's folder are of one heart, and which view each states.

Clips are of one heart that share Patient ID and Study Instance UID; two studies are two hearts. A
folder of clips without a study is one heart, unless the files' names pair an A4C with an A2C.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from echoseg.clip import View
from echoseg.io.clip_header import ClipHeader
from echoseg.private import Pseudonyms
from echoseg.report.cohort import find_clips
from echoseg.report.writer import free_names

PLANES = (View.A4C, View.A2C)
_TOKENS = {
    View.A4C: r"a4c|4ch|ap4|ap4c|apical4|4chamber",
    View.A2C: r"a2c|2ch|ap2|ap2c|apical2|2chamber",
}
_VIEWER = "an animated picture beside the DICOM clips of a study, such as of a viewer program"


class StudyClip(NamedTuple):
    """A clip of a study: path relative to its folder, file, stated view and where that is from."""

    name: str
    path: Path
    view: View
    view_from: str


@dataclass(frozen=True, kw_only=True)
class Heart:
    """The clips of one heart."""

    name: str
    clips: tuple[StudyClip, ...]


_IMAGE = re.compile(r"(?:im|img|image|i|clip|video|cine|loop|file|us|dcm|seq)_?\d*", re.IGNORECASE)
"""Names that machines and viewers give to the images of one study."""


class NameParts(NamedTuple):
    """The view that a file's name states, and what is before and after it.

    `before` is the whole name where no view is stated.
    """

    view: View
    before: str
    after: str = ""

    def heart(self, is_take: bool) -> str:
        """The name without its view, and without a number at its end if that is one of takes."""
        after = re.sub(r"(^|_)\d+$", "", self.after) if is_take else self.after
        return "_".join(filter(None, (self.before, after)))


def split_name(name: str) -> NameParts:
    """The parts of a file's name, whose words are then separated by `_`."""
    for view, tokens in _TOKENS.items():
        pattern = rf"(?<![a-z0-9])(?:{tokens})(?![a-z0-9])"
        if match := re.search(pattern, name, re.IGNORECASE):
            parts = name[: match.start()], name[match.end() :]
            return NameParts(view, *(re.sub(r"[\s_.-]+", "_", part).strip("_") for part in parts))
    return NameParts(View.UNKNOWN, name)


def find_hearts(
    folder: Path, out: Path | None = None, reserved: tuple[str, ...] = ()
) -> tuple[list[Heart], dict[str, str]]:
    """Find the clips of each heart in a study's folder, and the other files with their reasons.

    Args:
        folder: The folder.
        out: A folder that is left out.
        reserved: Names that no heart gets.

    Raises:
        ConfigError: If there is no clip.
        DatasetError: If a folder cannot be read.
    """
    sources = find_clips([folder], out)
    headers = dict(sources.headers)
    if any(header.study for header in headers.values()):
        for name in [name for name, header in headers.items() if not header.study]:
            if headers[name].is_picture:
                sources.others[name] = _VIEWER
                del sources[name], headers[name]
    hearts = group_by_heart(headers)
    parts = {name: _parts(name) for name in headers}
    stems = [_heart_name(folder, clips, parts) for clips in hearts.values()]
    return [
        Heart(name=name, clips=tuple(_clip(c, sources[c], headers[c], parts[c].view) for c in some))
        for name, some in zip(free_names(stems, reserved), hearts.values(), strict=True)
    ], sources.others


def _parts(name: str) -> NameParts:
    return split_name(os.path.basename(name).split(".")[0])


def group_by_heart(headers: Mapping[str, ClipHeader]) -> dict[tuple[str, ...], list[str]]:
    """The clips of each heart: of one patient and study, or else by folders and names.

    Args:
        headers: Of each clip, by its path relative to the folder.

    Returns:
        Names of clips by a key: (hash of the patient, hash of the study), or (hash of the patient,
        folder, what the names share).
    """
    parts = {name: _parts(name) for name in headers}
    hearts: dict[tuple[str, ...], list[str]] = {}
    loose: dict[tuple[str, ...], list[str]] = {}
    for name, header in headers.items():
        if header.study:
            hearts.setdefault((header.patient, header.study), []).append(name)
        else:
            loose.setdefault((header.patient, os.path.dirname(name)), []).append(name)
    for key, clips in loose.items():
        for heart, some in _by_names({clip: parts[clip] for clip in clips}).items():
            hearts[(*key, heart)] = some
    return hearts


def _by_names(parts: dict[str, NameParts]) -> dict[str, list[str]]:
    """The clips of each heart of a folder: by names that pair A4C with A2C, else of one heart.

    A number after the view is one of takes (`p1_A4C_2`), unless it is all that pairs the clips
    (`A4C_1` and `A2C_1`, `A4C_2` and `A2C_2`). Names that differ before the view (`p1_A4C`,
    `p2_A2C`) may be of two patients, unless they are numbers of images (`IM1_A4C`). Other clips are
    of the heart that their names begin with.
    """
    named = {clip: one for clip, one in parts.items() if one.view in PLANES}
    stems = {clip: one.heart(any(map(str.isdigit, one.before))) for clip, one in named.items()}
    if any(views != sorted(PLANES) for views in _views_of(stems, named)):
        stems = {clip: one.heart(True) for clip, one in named.items()}
        if not any(set(views) == set(PLANES) for views in _views_of(stems, named)):
            stems = {c: one.heart(True) for c, one in named.items() if not _is_image(one.before)}
            stems |= {clip: "" for clip in named if clip not in stems}
    known = sorted(set(stems.values()), key=len, reverse=True)
    hearts: dict[str, list[str]] = {}
    for clip, one in parts.items():
        words = re.sub(r"[\s_.-]+", "_", one.before) + "_"
        begun = [stem for stem in known if stem and words.startswith(f"{stem}_")]
        stem = stems.get(clip, known[0] if len(known) == 1 else [*begun, ""][0])
        hearts.setdefault(stem, []).append(clip)
    return hearts


def _is_image(before: str) -> bool:
    """Whether the name before the view is empty or a number of images, not of patients."""
    return not before or bool(_IMAGE.fullmatch(before))


def _views_of(stems: dict[str, str], named: dict[str, NameParts]) -> list[list[View]]:
    """The views of the clips of each stem, sorted."""
    views: dict[str, list[View]] = {}
    for clip, stem in stems.items():
        views.setdefault(stem, []).append(named[clip].view)
    return list(map(sorted, views.values()))


def _clip(name: str, path: Path, header: ClipHeader, named: View) -> StudyClip:
    known = ((header.view, "header"), (named, "name"), (View.UNKNOWN, "pictures"))
    view, origin = next((one for one in known if one[0] is not View.UNKNOWN), known[-1])
    return StudyClip(name, path, view, origin)


def _heart_name(folder: Path, clips: list[str], parts: dict[str, NameParts]) -> str:
    """What the names of a heart's clips share, else their folder."""
    named = [parts[clip] for clip in clips if parts[clip].view is not View.UNKNOWN]
    for is_take in (False, True):
        rests = {one.heart(is_take) for one in named}
        if len(rests) == 1 and "" not in rests:
            return rests.pop()
    common = os.path.commonpath([(folder.resolve() / clip).parent for clip in clips])
    return os.path.basename(common)


def hide_names(
    hearts: list[Heart], others: dict[str, str], folder: Path, names: Pseudonyms
) -> tuple[list[Heart], dict[str, str]]:
    """What `find_hearts` finds in a folder, with hashes as names of hearts and files."""
    hidden = []
    for heart in hearts:
        clips = tuple(clip._replace(name=names.name(clip.path)) for clip in heart.clips)
        digest = names.digest(*sorted(os.path.abspath(clip.path) for clip in clips))
        hidden.append(Heart(name=f"heart-{digest}", clips=clips))
    return hidden, {names.name(folder / name): names.hide(why) for name, why in others.items()}
