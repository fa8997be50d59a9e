"""The clips of files and folders: what a cohort or a study is made of."""

from collections.abc import Callable, Container, Sequence
from contextlib import nullcontext
from itertools import chain, count
from pathlib import Path

from echoseg.clip import View
from echoseg.data.custom import candidate_files, readable
from echoseg.errors import ConfigError, printable
from echoseg.io import is_frame_folder
from echoseg.io.clip_header import ClipHeader, read_clip_header
from echoseg.io.images import SUFFIXES
from echoseg.parallel import Limits
from echoseg.parallel.calls import CallEach, calls_elsewhere
from echoseg.private import Pseudonyms
from echoseg.remote import Remote
from echoseg.report.writer import FILES, MARK

HEADER_LIMITS = Limits(timeout_s=60.0, memory_gb=2.0)
_UNKNOWN = ClipHeader()


class FoundClips(dict[str, Path]):
    """Clips by name; `others` are the files that are not clips, by name with the reason.

    `views` are those stated of single clips, by name; `headers` are of all clips. Of clips that
    are objects, `remote` is their folder, their paths are relative to it, and `versions` are what
    changes with their content.
    """

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[str, str] = {}
        self.paths_of_others: dict[str, Path] = {}
        self.views: dict[str, View] = {}
        self.headers: dict[str, ClipHeader] = {}
        self.remote: Remote | None = None
        self.versions: dict[str, str] = {}

    def add(self, name: str, path: Path, header: ClipHeader = _UNKNOWN) -> None:
        """Add a clip; its name is changed where it is taken."""
        name = _free_name(self, name, path)
        self[name], self.headers[name] = path, header

    def add_other(self, name: str, path: Path, reason: str) -> None:
        """Add a file that is not a clip; its name is changed where it is taken."""
        name = _free_name(self.others, name, path)
        self.others[name], self.paths_of_others[name] = reason, path

    def hidden(self, names: Pseudonyms) -> "FoundClips":
        """The same with hashes as names."""
        hidden = FoundClips()
        hidden.remote = self.remote

        def hash_of(path: Path) -> str:
            return names.name(f"{self.remote}/{path.as_posix()}" if self.remote else path)

        for clip, path in self.items():
            name = hash_of(path)
            hidden[name] = path
            hidden.versions[name] = self.versions.get(clip, "")
        for name, reason in self.others.items():
            hidden.others[hash_of(self.paths_of_others[name])] = names.hide(reason)
        return hidden


def find_clips(sources: Sequence[Path], out: Path | None = None) -> FoundClips:
    """As `list_clips`, of which there must be one.

    Raises:
        ConfigError: If a source does not exist, or nothing is found.
        DatasetError: If a folder cannot be read, so that clips would be missed.
    """
    clips = list_clips(sources, out)
    if not clips:
        what = "".join(f" ({name}: {why})" for name, why in list(clips.others.items())[:1])
        raise ConfigError(f"{sources[0]} holds no clip{what}; give a folder of clips, or clips")
    return clips


def list_clips(
    sources: Sequence[Path], out: Path | None = None, each: CallEach | None = None
) -> FoundClips:
    """List the clips of files and folders, by name: as given, or the path relative to the folder.

    A folder of frames only is one clip. Files in `out` and in result folders are left out. So
    are files of a folder whose headers say that they are not clips; they are `others`, as are
    links to folders that are read already. Files are opened in other processes only, so that a
    broken one ends nothing: its analysis fails with the reason.

    Args:
        sources: The files and folders.
        out: A folder that is left out.
        each: Calls functions in another process; by default one that is started for it.

    Raises:
        ConfigError: If a source does not exist.
        DatasetError: If a folder cannot be read, so that clips would be missed.
    """
    clips = FoundClips()
    with nullcontext(each) if each else calls_elsewhere(HEADER_LIMITS) as each:
        for source in sources:
            _add_clips(clips, source, out, each)
    return clips


def _add_clips(clips: FoundClips, source: Path, out: Path | None, each: CallEach) -> None:
    """Add the clips of a source, and its other files."""
    files, links, is_named = _candidates(source, out, each)
    for path, header in zip(files, each(read_clip_header, files, _UNKNOWN), strict=True):
        if is_named:
            clips.add(printable(path.name), path, header)
        elif not header.no_clip_reason:
            clips.add(_name(path, source), path, header)
        elif path.suffix.lower() not in SUFFIXES:  # a picture beside clips
            clips.add_other(_name(path, source), path, header.no_clip_reason)
    for link in links:
        clips.add_other(_name(link, source), link, "a link to a folder that is read already")


def _free_name(names: Container[str], name: str, path: Path) -> str:
    """The name, where it is taken the path, else the name with a number."""
    free = chain((name, printable(str(path))), (f"{name} ({number})" for number in count(2)))
    return next(one for one in free if one not in names)


def _name(path: Path, source: Path) -> str:
    return printable(path.relative_to(source).as_posix())


def _candidates(
    source: Path, out: Path | None, each: CallEach
) -> tuple[list[Path], list[Path], bool]:
    """What may be clips of a source, links that are not followed, and whether it is one itself."""
    if not source.is_dir():
        is_clip(source)
        return [source], [], True
    links: list[Path] = []
    of_source: list[bool] = []

    def with_source(function: Callable[[Path], bool], inner: list[Path]) -> list[bool]:
        flags = each(function, [source, *inner], False)
        of_source.append(flags[0])
        return flags[1:]

    files = candidate_files(source, out, links, with_source)
    if of_source[0]:
        return [source], [], True
    is_result = {path.parent: (path.parent / MARK).exists() for path in files}
    left = [path for path in files if not (path.name in FILES and is_result[path.parent])]
    return left, links, False


def is_clip(source: Path) -> bool:
    """Whether a path is a clip, a file or a folder of frames, not a folder of clips.

    Raises:
        ConfigError: If it does not exist.
        DatasetError: If it cannot be read.
    """
    with readable(source):
        if not source.exists():
            raise ConfigError(f"{source} does not exist; give clips, or folders of clips")
        if not source.is_dir():
            return True
        with calls_elsewhere(HEADER_LIMITS) as each:
            return each(is_frame_folder, [source], False)[0]
