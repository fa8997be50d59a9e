"""A cohort whose clips or whose output folder are not local: objects of `echoseg.remote`.

    clips   each is fetched into a folder of its own when its turn comes, and removed after it
    output  a local folder mirrors the documents (manifest, reports, failures, tables, audit log);
            a result is stored when it is done, its `report.json` last, so that it is whole or not
            there; of the local copy its report stays

So everything that reads and writes a cohort's folder does with a remote one what it does with a
local one.
"""

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from echoseg.errors import ConfigError, EchosegError, NotAClipError, printable
from echoseg.files import cache_folder, locked_dir, work_folder
from echoseg.io.clip_header import is_clip_name, read_clip_header
from echoseg.io.images import SUFFIXES
from echoseg.remote import Remote, file_name
from echoseg.report.cohort.clips import FoundClips
from echoseg.report.cohort.folder import (
    AUDIT,
    FAILURES,
    FAILURES_TABLE,
    MANIFEST,
    OTHERS_TABLE,
    RESULTS_TABLE,
    Entry,
    failure_path,
)
from echoseg.report.cohort.shard import Shard
from echoseg.report.writer import MARK
from echoseg.untrusted import MAX_DOCUMENT_BYTES

_FOLDER = r"[^/\\.\x00][^/\\\x00]*"
_DOCUMENTS = re.compile(
    rf"{re.escape(MANIFEST)}|{AUDIT}|\.echoseg/written\.json|{FAILURES}/{_FOLDER}\.json"
    rf"|{_FOLDER}/{re.escape(MARK)}|\.shards/[0-9]+-of-[0-9]+/{AUDIT}"
    rf"|{'|'.join(map(re.escape, (RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE)))}"
)
"""What is mirrored; other names are passed over, whatever they are."""
_MAX_LOG_BYTES = 8 * 2**30
_FILE_FACTOR = 4
"""Size of the largest file, relative to the limit of decoded frames: colour, and 16 bits."""


def find_remote_clips(remote: Remote, out: Path) -> FoundClips:
    """The objects that may be clips, by name; each is one file, and is opened in its turn only.

    Args:
        remote: Their folder.
        out: The output folder, which is left out.

    Raises:
        ConfigError: If there is none.
        DatasetError: If they cannot be listed.
    """
    clips = FoundClips()
    clips.remote = remote
    own = Remote.parse(out)
    left_out = own.path.removeprefix(f"{remote.path}/") + "/" if own else None
    for name, stored in remote.files().items():
        path = PurePosixPath(name)
        if not is_clip_name(path) or path.suffix.lower() in SUFFIXES:
            continue
        if left_out and name.startswith(left_out):
            continue
        if not file_name(name):
            clips.add_other(printable(name), Path(name), "no file can have this name")
            continue
        clips[printable(name)] = Path(name)
        clips.versions[printable(name)] = stored.version
    if not clips:
        raise ConfigError(f"{remote} holds no clip; give a folder of clips")
    return clips


@contextlib.contextmanager
def fetched(remote: Remote, entry: Entry, max_decoded_gib: float) -> Iterator[Entry]:
    """Fetch a clip for as long as it is in work.

    Raises:
        NotAClipError: If its header says that it is something else.
        TooLargeError: If it is larger than four times the limit of decoded bytes.
        DatasetError: If it cannot be fetched.
    """
    name = entry.source.as_posix()
    scratch = cache_folder() / "fetched"
    scratch.mkdir(parents=True, exist_ok=True)
    with work_folder(scratch) as work:
        place = work / "new" / file_name(name)
        remote.fetch(name, place, round(_FILE_FACTOR * max_decoded_gib * 2**30))
        if reason := read_clip_header(place).no_clip_reason:
            raise NotAClipError(reason)
        yield entry.model_copy(update={"source": place})


class Mirror:
    """The local copy of a remote output folder's documents.

    Args:
        remote: The output folder.
        folder: Its local copy.
        shard: The shard that runs; None: the whole cohort.
    """

    def __init__(self, remote: Remote, folder: Path, shard: Shard | None = None) -> None:
        self.remote, self.folder, self.shard = remote, folder, shard

    def pull(self, *, with_reports: bool = True) -> None:
        """Fetch the documents, and store results that a run which was killed left here.

        Args:
            with_reports: Without them an empty file stands for each.

        Raises:
            DatasetError: If they cannot be read.
            OutputError: If what is left cannot be stored.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = self.remote.files()
        self._tidy(stored)
        for name, one in stored.items():
            if not _DOCUMENTS.fullmatch(name):
                continue
            place = self.folder / name
            is_log = place.name == AUDIT
            if is_log and place.exists() and place.stat().st_size >= one.size_bytes:
                continue  # of this machine's last run, which was killed before it stored it
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.name == MARK and not with_reports:
                place.touch()
            else:
                limit = _MAX_LOG_BYTES if is_log else MAX_DOCUMENT_BYTES
                self.remote.fetch(name, place, limit)

    def _tidy(self, stored: Collection[str]) -> None:
        """Leave nothing here that was removed there; a result that is only here is stored."""
        if MANIFEST not in stored:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
        for mark in self.folder.glob(f"*/{MARK}"):
            if mark.relative_to(self.folder).as_posix() in stored:
                continue
            if len(list(mark.parent.iterdir())) > 1:
                self._push_result(mark.parent)
            else:
                shutil.rmtree(mark.parent)
        for failure in self.folder.glob(f"{FAILURES}/*.json"):
            if failure.relative_to(self.folder).as_posix() not in stored:
                failure.unlink()

    def push(self, *places: Path) -> None:
        """Store files of the local copy, in this order; what is missing is passed over.

        Raises:
            OutputError: If one cannot be stored.
        """
        for place in places:
            if place.is_file():
                self.remote.put(place, place.relative_to(self.folder).as_posix())

    def push_outcome(self, entry: Entry) -> None:
        """Store a clip's result, its report last, or its failure.

        Raises:
            OutputError: If it cannot be stored.
        """
        if (self.folder / entry.name / MARK).exists():
            self._push_result(self.folder / entry.name)
            self.remote.remove(f"{FAILURES}/{entry.name}.json")
        else:
            self.push(failure_path(self.folder, entry))

    def _push_result(self, result: Path) -> None:
        files = sorted(path for path in result.rglob("*") if path.is_file() and path.name != MARK)
        self.push(*files, result / MARK)
        for path in files:
            path.unlink()

    def push_documents(self) -> None:
        """Store what belongs to the whole: tables and audit log; of a shard its log.

        Raises:
            OutputError: If it cannot be stored.
        """
        if self.shard is not None:
            return self.push(self.shard.audit_log(self.folder))
        names = (RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE, AUDIT, ".echoseg/written.json")
        self.push(*(self.folder / name for name in names))


@contextlib.contextmanager
def mirrored(output: Path, shard: Shard | None = None) -> Iterator[tuple[Path, Mirror | None]]:
    """The local folder of an output folder, and its mirror where that one is remote.

    Raises:
        DatasetError: If a remote one cannot be read.
        OutputError: If it cannot be written, or another process of this machine works in it.
    """
    remote = Remote.parse(output)
    if remote is None:
        yield output, None
        return
    digest = hashlib.sha256(f"{remote.protocol}://{remote.path} {shard}".encode()).hexdigest()
    place = cache_folder() / "mirrors" / digest[:16]
    with _named(place, remote), locked_dir(place):
        mirror = Mirror(remote, place / "out", shard)
        mirror.pull()
        try:
            yield mirror.folder, mirror
        finally:
            mirror.push_documents()


@contextlib.contextmanager
def watched(output: Path) -> Iterator[Path]:
    """A folder in which the state of an output folder can be read, also while it is worked in.

    Raises:
        DatasetError: If a remote one cannot be read.
    """
    remote = Remote.parse(output)
    if remote is None:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="echoseg-") as place, _named(Path(place), remote):
        Mirror(remote, Path(place) / "out").pull(with_reports=False)
        yield Path(place) / "out"


@contextlib.contextmanager
def _named(place: Path, remote: Remote) -> Iterator[None]:
    """Let errors name the remote folder, not its local copy."""
    try:
        yield
    except EchosegError as error:
        text = str(error).replace(str(place / "out"), str(remote)).replace(str(place), str(remote))
        error.args = (text, *error.args[1:])
        raise
