"""The worklist: clips by reference or dropped, their states, and pages of them by filters.

A clip is `queued`, then `running` in a worker process, then `ready` or `failed`. The database is
the truth: what was added is there after a kill, and what was running is queued again.
"""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Event, Lock
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select, update

from echoseg.audit import AuditLog
from echoseg.audit import Event as AuditEvent
from echoseg.database import Database
from echoseg.errors import printable
from echoseg.io import source_sha256
from echoseg.parallel import Limits
from echoseg.parallel.calls import CallEach, calls_elsewhere
from echoseg.private import Pseudonyms
from echoseg.report.cohort import FoundClips, list_clips
from echoseg.report.hearts import group_by_heart
from echoseg.web.analysis import ClipFailure, ClipResult, read_progress
from echoseg.web.api import AddedClips, RefusedFile, WorklistPage, WorklistQuery, WorklistRow
from echoseg.web.records import ClipRow, ClipState, ReadRow
from echoseg.web.refusal import Refusal
from echoseg.web.settings import PageSettings

CLIPS = "clips"
ID_LENGTH = 32
_MAX_NAME = 500
_BATCH = 100
_LIMITS = Limits(timeout_s=600.0, memory_gb=2.0)
_UNREADABLE = "the file cannot be read"
_NOT_UTF8 = "its path is not UTF-8; rename it"
_UNRELIABLE = ("unreliable", "none", "part_of_beat")


class Addition(NamedTuple):
    """Id of each clip that is in the worklist now, by its path; why other files are not, by name.

    Names are those of `list_clips`.
    """

    clips: dict[Path, str]
    refused: dict[str, str]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, each once."""
        return tuple(dict.fromkeys(self.clips.values()))

    def message(self) -> AddedClips:
        """As it is sent to the page."""
        files = (RefusedFile(name=name, reason=why) for name, why in self.refused.items())
        return AddedClips(added=self.ids, refused=tuple(files))


class Worklist:
    """The clips of the page.

    Args:
        settings: Folder, names.
        database: Where the rows are.
        audit: Where it is noted who added which clip.
    """

    def __init__(self, settings: PageSettings, database: Database, audit: AuditLog) -> None:
        self.settings, self.database, self.audit = settings, database, audit
        self.names = Pseudonyms(settings.folder / "private.key")
        self.folder = settings.folder.absolute() / CLIPS
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.is_work = Event()
        self._lock, self._process = Lock(), ExitStack()
        self._each: CallEach | None = None
        with database.transaction() as session:
            running = ClipRow.state == ClipState.RUNNING
            session.execute(update(ClipRow).where(running).values(state=ClipState.QUEUED))

    def close(self) -> None:
        """End the process that opens files."""
        self._process.close()

    def clip_folder(self, clip: str) -> Path:
        """Folder of a clip's cine and results.

        Raises:
            Refusal: With 404, if there is no such clip.
        """
        return self.folder / self.row(clip).id

    def add(self, sources: Sequence[Path], account: str, *, is_drop: bool = False) -> Addition:
        """Put clips into the worklist: files, folders of frames, and folders of both.

        Args:
            sources: What is added, by reference.
            account: Who adds it.
            is_drop: A few files, for which no process is started.

        Raises:
            ConfigError: If a source does not exist.
            DatasetError: If a folder cannot be read.
        """
        ids: dict[Path, str] = {}
        with nullcontext(self._standby()) if is_drop else calls_elsewhere(_LIMITS) as each:
            clips = list_clips([one.absolute() for one in sources], each=each)
            refused, studies, names = dict(clips.others), self._studies(clips), list(clips)
            for start in range(0, len(names), _BATCH):  # so that the first ones are there soon
                batch = names[start : start + _BATCH]
                hashes = each(source_sha256, [clips[name] for name in batch], "")
                rows = []
                for name, sha256 in zip(batch, hashes, strict=True):
                    path = clips[name]
                    if sha256 and str(path) == printable(str(path)):
                        rows.append(self._new_row(name, path, sha256, studies[name]))
                        ids[path] = rows[-1]["id"]
                    else:
                        refused[name] = _NOT_UTF8 if sha256 else _UNREADABLE
                self._insert({row["id"]: row for row in rows}, account)
        return Addition(ids, refused)

    def _standby(self) -> CallEach:
        """Calls functions in a process that stays, so that a drop waits for no start of one."""
        with self._lock:
            if self._each is None:
                self._each = self._process.enter_context(calls_elsewhere(_LIMITS))
            return self._each

    def _studies(self, clips: FoundClips) -> dict[str, str]:
        """Keyed hash of the study of each clip; of a clip that stands alone it is empty."""
        studies = dict.fromkeys(clips, "")
        for key, some in group_by_heart(clips.headers).items():
            is_stated = len(key) == 2
            if is_stated or len(some) > 1:
                folder = "" if is_stated else str(clips[some[0]].parent)
                digest = self.names.digest("study", *key, folder)
                studies |= dict.fromkeys(some, f"study-{digest}")
        return studies

    def _new_row(self, name: str, path: Path, sha256: str, study: str) -> dict[str, Any]:
        text = printable(name)[:_MAX_NAME] if self.settings.show_names else self.names.name(path)
        return {
            "id": sha256[:ID_LENGTH],
            "name": text,
            "source": str(path),
            "sha256": sha256,
            "study": study,
            "state": ClipState.QUEUED,
            "added_s": time.time(),
        }

    def _insert(self, new: dict[str, dict[str, Any]], account: str) -> None:
        """Insert rows by id; a clip that failed, or whose file is gone, gets its new file."""
        with self.database.transaction() as session:
            for row in session.scalars(select(ClipRow).where(ClipRow.id.in_(new))):
                if row.state == ClipState.FAILED or not Path(row.source).exists():
                    row.source, row.reason = new[row.id]["source"], ""
                    if row.state == ClipState.FAILED:
                        row.state = ClipState.QUEUED
                del new[row.id]
            self.database.insert_missing(session, ClipRow, list(new.values()))
            for row in new.values():
                options = {"account": account}
                event = AuditEvent(event="added", input_sha256=row["sha256"], options=options)
                self.audit.append(event)
        self.is_work.set()

    def row(self, clip: str) -> ClipRow:
        """The row of a clip.

        Raises:
            Refusal: With 404, if there is none.
        """
        with self.database.transaction() as session:
            row = session.get(ClipRow, clip)
        if row is None:
            raise Refusal(404, "There is no such clip in the worklist.")
        return row

    def messages(self, rows: Sequence[ClipRow], reader: str = "") -> tuple[WorklistRow, ...]:
        """Rows as the page shows them to a reader: of what is read twice, as they read it."""
        own = {}
        if self.settings.double_read:
            ids = [row.id for row in rows]
            chosen = select(ReadRow.clip, ReadRow.summary).where(ReadRow.reader == reader)
            with self.database.transaction() as session:
                own = {
                    clip: text
                    for clip, text in session.execute(chosen.where(ReadRow.clip.in_(ids)))
                }
        return tuple(self._message(row, own.get(row.id) or "{}") for row in rows)

    def _message(self, row: ClipRow, own: str) -> WorklistRow:
        fields: dict[str, Any] = {name: getattr(row, name) for name in _ROW_FIELDS}
        done, total = row.num_frames, row.num_frames
        if row.state == ClipState.RUNNING:
            done, total = read_progress(self.folder / row.id)
        fields |= {"frames_done": done, "num_frames": total} | json.loads(own)
        return WorklistRow(**fields)

    def _decision(self, reader: str) -> Any:
        """The column of a clip's decision; of what is read twice, a reader's own goes before."""
        if not self.settings.double_read:
            return ClipRow.decision
        own = select(ReadRow.decision).where(ReadRow.clip == ClipRow.id, ReadRow.reader == reader)
        return func.coalesce(own.limit(1).scalar_subquery(), ClipRow.decision)

    def page(self, query: WorklistQuery, reader: str = "") -> WorklistPage:
        """The rows that a query of a reader asks for."""
        where = _conditions(query, self._decision(reader))
        chosen = select(ClipRow).where(*where).order_by(*_order(query))
        with self.database.transaction() as session:
            counts = session.execute(select(ClipRow.state, func.count()).group_by(ClipRow.state))
            total = session.scalar(select(func.count()).select_from(ClipRow).where(*where))
            rows = session.scalars(chosen.offset(query.first).limit(query.count)).all()
            by_state = {state: count for state, count in counts}
        return WorklistPage(
            total=total or 0,
            first=query.first,
            counts={str(state): by_state.get(state, 0) for state in ClipState},
            rows=self.messages(rows, reader),
        )

    def select(self, query: WorklistQuery, reader: str = "") -> list[ClipRow]:
        """All rows of a reader's filter, in its order."""
        where = _conditions(query, self._decision(reader))
        chosen = select(ClipRow).where(*where).order_by(*_order(query))
        with self.database.transaction() as session:
            return list(session.scalars(chosen))

    def study(self, study: str) -> list[ClipRow]:
        """The clips of a study, the first added first."""
        if not study:
            return []
        chosen = select(ClipRow).where(ClipRow.study == study)
        with self.database.transaction() as session:
            return list(session.scalars(chosen.order_by(ClipRow.added_s, ClipRow.id)))

    def take_over(self, folder: Path) -> bool:
        """Let the rows of a drop name its folder, wherever that lay before; whether there are any.

        Args:
            folder: `drops/TOKEN` of the page's folder, which may have been moved or restored.
        """
        part = f"/{folder.parent.name}/{folder.name}/"
        chosen = select(ClipRow).where(ClipRow.source.contains(part, autoescape=True))
        with self.database.transaction() as session:
            rows = session.scalars(chosen).all()
            for row in rows:
                row.source = f"{folder}/{row.source.partition(part)[2]}"
            return bool(rows)

    def sources_in(self, folder: Path) -> set[Path]:
        """Sources of clips that lie in a folder."""
        chosen = select(ClipRow.source).where(
            ClipRow.source.startswith(f"{folder}/", autoescape=True)
        )
        with self.database.transaction() as session:
            return set(map(Path, session.scalars(chosen)))

    def claim(self) -> ClipRow | None:
        """The queued clip that was added first, which is running now; None where there is none."""
        queued = select(ClipRow).where(ClipRow.state == ClipState.QUEUED)
        queued = queued.order_by(ClipRow.added_s, ClipRow.id).limit(1)
        with self.database.transaction() as session:
            row = session.scalars(queued.with_for_update(skip_locked=True)).first()
            if row is not None:
                row.state = ClipState.RUNNING
            return row

    def finish(self, clip: str, outcome: ClipResult | ClipFailure) -> None:
        """Note the outcome of a clip that was running."""
        state = ClipState.FAILED if isinstance(outcome, ClipFailure) else ClipState.READY
        values = {"state": state, "analyzed_s": time.time()} | outcome.model_dump()
        self._set(clip, values)

    def release(self, clip: str) -> None:
        """Queue a clip again that was running."""
        self._set(clip, {"state": ClipState.QUEUED})

    def _set(self, clip: str, values: dict[str, Any]) -> None:
        is_it = (ClipRow.id == clip) & (ClipRow.state == ClipState.RUNNING)
        with self.database.transaction() as session:
            session.execute(update(ClipRow).where(is_it).values(**values))

    def retry(self, clip: str) -> ClipRow:
        """Queue a failed clip again.

        Raises:
            Refusal: With 404, if there is no such clip; with 409, if it did not fail.
        """
        row = self.row(clip)
        if row.state != ClipState.FAILED:
            raise Refusal(409, f"Only a failed clip is tried again; this one is {row.state}.")
        values = {"state": ClipState.QUEUED, "reason": ""}
        with self.database.transaction() as session:
            session.execute(update(ClipRow).where(ClipRow.id == clip).values(**values))
        self.is_work.set()
        return self.row(clip)


_ROW_FIELDS = tuple(name for name in WorklistRow.model_fields if name in ClipRow.__table__.columns)
_SORT: dict[str, Any] = {
    "added": ClipRow.added_s,
    "ef": ClipRow.ef_percent,
    "name": ClipRow.name,
    "priority": ClipRow.label_priority,
}


def _order(query: WorklistQuery) -> tuple[Any, ...]:
    column = _SORT[query.sort]
    order = column.desc() if query.descending else column.asc()
    return order.nulls_last(), ClipRow.id


def _conditions(query: WorklistQuery, decision: Any) -> list[Any]:
    """Conditions of the filters."""
    conditions: list[Any] = []
    if query.state:
        conditions.append(ClipRow.state == query.state)
    if query.filter:
        conditions.append(ClipRow.state == ClipState.READY)
    if query.filter == "unreliable":
        conditions.append(ClipRow.ef_kind.in_(_UNRELIABLE))
    elif query.filter == "uncorrected":
        conditions.append(ClipRow.is_corrected.is_(False))
    elif query.filter == "undecided":
        conditions.append(decision == "")
    if query.ef_from is not None:
        conditions.append(ClipRow.ef_percent >= query.ef_from)
    if query.ef_to is not None:
        conditions.append(ClipRow.ef_percent <= query.ef_to)
    if query.text:
        columns = (ClipRow.name, ClipRow.view, ClipRow.study, ClipRow.id)
        conditions.append(or_(*(c.icontains(query.text, autoescape=True) for c in columns)))
    return conditions
