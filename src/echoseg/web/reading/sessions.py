"""Opened readings: a few are held in memory, each asked by one request at a time."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from echoseg.inference.analysis import Analysis
from echoseg.web.accounts import Reader
from echoseg.web.reading import access, decisions, store
from echoseg.web.reading.measuring import measure_state
from echoseg.web.reading.opened import OpenedClip, open_clip
from echoseg.web.reading.packing import unpack
from echoseg.web.reading.state import Parameters, State
from echoseg.web.records import ReadRow
from echoseg.web.refusal import Refusal

if TYPE_CHECKING:
    from echoseg.web.app import Page

MAX_OPEN = 4
"""Readings that are held in memory."""
MAX_STATES = 16
"""Revisions of a reading whose frames are held in memory."""


@dataclass
class OpenReading:
    """An opened reading.

    Attributes:
        opened: The network's result.
        network: What the worklist shows of it.
        states: Revisions in memory, the last used at the end.
        analyses: Their numbers.
    """

    opened: OpenedClip
    network: dict[str, Any]
    states: "OrderedDict[int, State]" = field(default_factory=OrderedDict)
    analyses: dict[int, Analysis] = field(default_factory=dict)

    def hold(self, state: State) -> None:
        """Hold a revision in memory, and let go of the one that was not used for longest."""
        self.states[state.revision] = state
        self.states.move_to_end(state.revision)
        while len(self.states) > MAX_STATES:
            revision, _ = self.states.popitem(last=False)
            self.analyses.pop(revision, None)

    def analysis(self, state: State) -> Analysis:
        """The numbers of a revision."""
        if state.revision not in self.analyses:
            self.analyses[state.revision] = measure_state(self.opened, state)
        return self.analyses[state.revision]


class Sessions:
    """The opened readings of a page.

    Attributes:
        access: Who may see and change which of them.
    """

    def __init__(self, page: "Page") -> None:
        self._page = page
        self.access = access.Access(double_read=page.settings.double_read)
        self._sessions: OrderedDict[tuple[str, int], OpenReading] = OrderedDict()
        self._lock = Lock()
        self._locks: dict[tuple[str, int], Lock] = {}

    @contextmanager
    def alone(self, clip: str, slot: int) -> Iterator[None]:
        """One request of a reading at a time."""
        with self._lock:
            lock = self._locks.setdefault((clip, slot), Lock())
        with lock:
            yield

    def open(
        self, clip: str, slot: int, reader: Reader | None, *, is_change: bool = False
    ) -> tuple[OpenReading, store.Line, ReadRow | None]:
        """The opened reading, its edits, and its row.

        Args:
            clip: Id of the clip.
            slot: First or second read.
            reader: Who asks; None: the page itself, for data that show no one a reading.
            is_change: Whether it is to be changed.

        Raises:
            Refusal: If it may not be seen or changed by the reader, or is not analyzed.
        """
        row = self._page.worklist.row(clip)
        with self._page.database.transaction() as session:
            who, reads = self.access, store.reads_of(session, clip)
            check = who.check_may_change if is_change else who.check_may_see
            if reader is not None:
                check(session, reads, slot, reader)
            read = reads.get(slot)
            if slot == access.FIRST and reader is not None:
                access.note_seen(session, clip, read, reader)
            line = store.line_of(session, read)
        with self._lock:
            one = self._sessions.pop((clip, slot), None)
        if one is None:
            opened = open_clip(row, self._page.worklist.clip_folder(clip))
            one = OpenReading(opened, decisions.network_summary(opened.report))
            one.hold(opened.first)
        with self._lock:
            self._sessions[clip, slot] = one
            while len(self._sessions) > MAX_OPEN:
                self._sessions.popitem(last=False)
        return one, line, read

    def state(self, one: OpenReading, line: store.Line, revision: int) -> State:
        """A reading at a revision: from memory, or from the newest revision before it that is.

        Raises:
            Refusal: With 404, if it has no such revision.
        """
        if revision and revision not in line.parents:
            raise Refusal(404, f"This reading has no version {revision}; open its history again.")
        chain = line.chain(revision)
        known = next((edit for edit in reversed(chain) if edit in one.states), 0)
        state = one.states.get(known) or one.opened.first
        missing = chain[chain.index(known) + 1 :] if known else chain
        if missing:
            with self._page.database.transaction() as session:
                rows = store.masks_of(session, missing)
            size = (one.opened.cine.rows, one.opened.cine.columns)
            masks = {}
            for _, packed, _ in rows:
                masks |= unpack(packed, size)
            parameters = Parameters.model_validate_json(rows[-1][2])
            frames = state.with_masks(masks, one.opened.spacing_mm(parameters))
            state = State(revision=revision, frames=frames, parameters=parameters)
        one.hold(state)
        return state
