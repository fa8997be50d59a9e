"""The readings of all clips: opened as they are asked for, changed one at a time."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from echoseg.errors import DatasetError
from echoseg.inference.analysis import Analysis
from echoseg.web.accounts import Reader
from echoseg.web.api import (
    Carry,
    DecisionRequest,
    EditRequest,
    FrameContours,
    HistoryEntry,
    Reading,
    Restore,
    SetBeat,
)
from echoseg.web.reading import access, decisions, store
from echoseg.web.reading.agreement import reader_agreement, with_limits
from echoseg.web.reading.measuring import measure_state
from echoseg.web.reading.message import contours_of, for_clinician, reading_numbers
from echoseg.web.reading.note import report_note
from echoseg.web.reading.operations import apply
from echoseg.web.reading.packing import pack
from echoseg.web.reading.sessions import OpenReading, Sessions
from echoseg.web.reading.state import State
from echoseg.web.reading.training import corrected_reads, write_training_data
from echoseg.web.reading_messages import AgreementAnswer, ReaderAgreement, TrainingAnswer
from echoseg.web.records import ClipRow, ReadRow
from echoseg.web.refusal import Refusal

if TYPE_CHECKING:
    from echoseg.web.app import Page


class Readings:
    """The readings of the page's clips.

    Args:
        page: The page; its database, audit log and worklist are used.
    """

    def __init__(self, page: "Page") -> None:
        self._page, self._sessions = page, Sessions(page)
        self._access = self._sessions.access
        self._known_agreement: ReaderAgreement | None = None
        self._agreement_lock = Lock()
        with page.database.transaction() as session:
            decisions.show_all_in_worklist(session, self._access, page.worklist.folder)

    def slot(self, clip: str, reader: Reader) -> access.Slot:
        """The read of a clip that a reader opens: first or second."""
        with self._page.database.transaction() as session:
            return self._access.slot(session, store.reads_of(session, clip), reader)

    def reading(self, clip: str, slot: int, reader: Reader, revision: int | None = None) -> Reading:
        """A reading with all its contours.

        Args:
            clip: Id of the clip.
            slot: First or second read.
            reader: Who asks.
            revision: As it was then; None: as it is.

        Raises:
            Refusal: With 404, 403 or 409, if it may not be shown, or there is no such revision.
        """
        begin = time.perf_counter()
        with self._sessions.alone(clip, slot):
            one, line, row = self._sessions.open(clip, slot, reader)
            state = self._sessions.state(one, line, line.head if revision is None else revision)
            frames = list(range(len(state.frames)))
            return self._message(one, state, (clip, slot, row, line), frames, begin)

    def edit(self, clip: str, slot: int, reader: Reader, request: EditRequest) -> Reading:
        """Change a reading; what changes nothing, such as a stroke off the picture, adds no edit.

        Returns:
            The reading with the contours that changed.

        Raises:
            Refusal: With 409, if the reading is signed or a newer revision is shown; with 422, if
                the change cannot be made.
        """
        begin = time.perf_counter()
        with self._sessions.alone(clip, slot):
            one, line, row = self._sessions.open(clip, slot, reader, is_change=True)
            store.check_current(row, request.revision)
            before = self._sessions.state(one, line, line.head)
            after, analysis = self._changed(one, line, before, request)
            changed = {
                index: frame.mask
                for index, frame in enumerate(after.frames)
                if frame.mask is not before.frames[index].mask
            }
            if not changed and after.parameters == before.parameters:
                return self._message(one, before, (clip, slot, row, line), [], begin)
            fields = {
                "reason": request.reason,
                "operation": request.operation.model_dump_json(),
                "parameters": after.parameters.model_dump_json(),
                "frames": pack(changed),
            }

            def write(session: Session, read: ReadRow) -> None:
                store.add_edit(session, read, reader, **fields)

            note = {"kind": request.operation.kind}
            known = (clip, slot, request.revision)
            row, line = self._write(known, one, reader, (after, analysis), ("edit", note, write))
            after = replace(after, revision=line.head)
            one.hold(after)
            one.analyses[after.revision] = analysis
            return self._message(
                one, after, (clip, slot, row, line), before.changed_to(after), begin
            )

    def preview(
        self, clip: str, slot: int, reader: Reader, request: EditRequest
    ) -> tuple[FrameContours, ...]:
        """The contours that carrying a correction would give; nothing is stored.

        Raises:
            Refusal: As `edit`.
        """
        if not isinstance(request.operation, Carry):
            raise Refusal(422, "Only a correction that is carried can be previewed.")
        with self._sessions.alone(clip, slot):
            one, line, row = self._sessions.open(clip, slot, reader, is_change=True)
            store.check_current(row, request.revision)
            before = self._sessions.state(one, line, line.head)
            after, _ = self._changed(one, line, before, request)
            return contours_of(after, before.changed_to(after))

    def undo(self, clip: str, slot: int, reader: Reader, revision: int) -> Reading:
        """Show the revision before.

        Raises:
            Refusal: As `edit`; with 409, if there is none.
        """
        return self._move(clip, slot, reader, revision, "undo")

    def redo(self, clip: str, slot: int, reader: Reader, revision: int) -> Reading:
        """Show the newest revision that was made of this one.

        Raises:
            Refusal: As `edit`; with 409, if there is none.
        """
        return self._move(clip, slot, reader, revision, "redo")

    def history(self, clip: str, slot: int, reader: Reader) -> tuple[HistoryEntry, ...]:
        """All edits and signatures of a reading.

        Raises:
            Refusal: As `reading`.
        """
        self._page.worklist.row(clip)
        with self._page.database.transaction() as session:
            reads = store.reads_of(session, clip)
            self._access.check_may_see(session, reads, slot, reader)
            row = reads.get(slot)
            if slot == access.FIRST:
                access.note_seen(session, clip, row, reader)
            entries = store.history_of(session, row)
        for entry in entries:
            operation = entry.pop("operation")
            stated = json.loads(operation) if operation.startswith("{") else {"kind": operation}
            entry |= {"kind": stated["kind"], "frame": stated.get("frame")}
            entry["beat"] = stated if stated["kind"] == "beat" else None
        return tuple(HistoryEntry(**entry) for entry in entries)

    def decide(self, clip: str, slot: int, reader: Reader, request: DecisionRequest) -> Reading:
        """Accept, reject or reopen a reading.

        Raises:
            Refusal: As `edit`; with 422, where a reason is missing.
        """
        begin = time.perf_counter()
        with self._sessions.alone(clip, slot):
            one, line, row = self._sessions.open(clip, slot, reader, is_change=True)
            state = self._sessions.state(one, line, line.head)
            analysis = one.analysis(state)
            decisions.check(row, line.head, request)

            def write(session: Session, read: ReadRow) -> None:
                decisions.decide(session, read, reader, request, analysis)

            note = {"reason": request.reason}
            known = (clip, slot, None)
            current = (state, analysis)
            row, line = self._write(known, one, reader, current, (request.decision, note, write))
            with self._agreement_lock:
                self._known_agreement = None
            return self._message(one, state, (clip, slot, row, line), [], begin)

    def analysis(self, clip: str, slot: int, reader: Reader, *, is_whole: bool = True) -> Analysis:
        """A reading as reports and exports take it, with masks and pictures if it is whole.

        Raises:
            Refusal: As `reading`.
        """
        with self._sessions.alone(clip, slot):
            one, line, row = self._sessions.open(clip, slot, reader)
            state = self._sessions.state(one, line, line.head)
            analysis = (
                measure_state(one.opened, state, is_whole=True) if is_whole else one.analysis(state)
            )
            return replace(analysis, reading=report_note(one.opened, state, row))

    def agreement(self) -> AgreementAnswer:
        """Inter-reader statistics of clips that were read twice."""
        with self._page.database.transaction() as session:
            return reader_agreement(session)

    def _ef_agreement(self) -> ReaderAgreement:
        """Agreement on the EF; only decisions change it."""
        with self._agreement_lock:
            if self._known_agreement is None:
                self._known_agreement = self.agreement().ef_percent
            return self._known_agreement

    def write_training_data(self, folder: Path, reader: Reader) -> TrainingAnswer:
        """Write corrected clips whose first read is accepted as training data.

        Args:
            folder: A new folder.
            reader: Who asks.

        Raises:
            DatasetError: If there is no such clip.
            OutputError: If the folder exists or cannot be written.
        """
        with self._page.database.transaction() as session:
            reads = corrected_reads(session)
            accepted = [row for row in reads if row.decision == "accepted"]
            for row in accepted:  # who takes a first read with them does no blinded second one
                access.note_seen(session, row.clip, row, reader)
            clips = [row.clip for row in accepted]
        if not clips:
            raise DatasetError("no corrected clip is accepted yet; correct and accept one first")
        num_clips = write_training_data(folder, (self._item(clip) for clip in clips))
        self._page.note("training data", reader.name, num_clips=num_clips)
        return TrainingAnswer(
            folder=str(folder), num_clips=num_clips, num_unsigned=len(reads) - len(clips)
        )

    def _item(self, clip: str) -> tuple[ClipRow, Analysis, tuple[int, ...]]:
        """Row, accepted first read and changed frames of a clip, whoever asks."""
        slot = access.FIRST
        with self._sessions.alone(clip, slot):
            one, line, _ = self._sessions.open(clip, slot, None)
            state = self._sessions.state(one, line, line.head)
        analysis = measure_state(one.opened, state, is_whole=True)
        return self._page.worklist.row(clip), analysis, state.parameters.changed

    def _changed(
        self, one: OpenReading, line: store.Line, before: State, request: EditRequest
    ) -> tuple[State, Analysis]:
        """The state after an edit that is not stored yet, and its numbers."""
        opened, operation = one.opened, request.operation
        if isinstance(operation, Restore):
            after = replace(self._sessions.state(one, line, operation.version), revision=-1)
        else:
            change = apply(operation, opened, before, one.analysis(before).measurement)
            frames = before.with_masks(change.masks, opened.spacing_mm(change.parameters))
            after = State(revision=-1, frames=frames, parameters=change.parameters)
        analysis = measure_state(opened, after)
        if isinstance(operation, SetBeat):
            why = analysis.measurement.refusal
            beats = analysis.measurement.beats
            if not why and any(
                (beat.esv_ml or 0) >= (beat.edv_ml or 1) or beat.ef_percent == 0 for beat in beats
            ):
                why = "the volume at ES must be smaller than at ED; choose other frames"
            if why:
                raise Refusal(422, for_clinician(f"{why[0].upper()}{why[1:]}."))
        return after, analysis

    def _move(self, clip: str, slot: int, reader: Reader, revision: int, way: str) -> Reading:
        begin = time.perf_counter()
        with self._sessions.alone(clip, slot):
            one, line, row = self._sessions.open(clip, slot, reader, is_change=True)
            store.check_current(row, revision)
            target = line.parents.get(revision) if way == "undo" else line.newest_child(revision)
            if row is None or target is None:
                raise Refusal(409, f"There is nothing to {way}.")
            before, after = (self._sessions.state(one, line, at) for at in (revision, target))

            def write(session: Session, read: ReadRow) -> None:
                read.head = target or None

            known, current = (clip, slot, revision), (after, one.analysis(after))
            row, line = self._write(known, one, reader, current, (way, {"to": target}, write))
            frames = before.changed_to(after)
            return self._message(one, after, (clip, slot, row, line), frames, begin)

    def _write(
        self,
        known: tuple[str, int, int | None],
        one: OpenReading,
        reader: Reader,
        current: tuple[State, Analysis],
        what: tuple[str, dict[str, Any], Callable[[Session, ReadRow], None]],
    ) -> tuple[ReadRow, store.Line]:
        """Write a change of a reading, its record in the audit log, and what the worklist shows."""
        clip, slot, revision = known
        event, note, write = what
        with self._page.database.transaction() as session:
            reads = store.reads_of(session, clip, lock=True)
            self._access.check_may_change(session, reads, slot, reader)
            read = reads.get(slot)
            if revision is not None:
                store.check_current(read, revision)
            if read is None:
                read = reads[slot] = store.begin_read(session, clip, slot, reader.name)
            write(session, read)
            is_corrected = current[0].parameters.are_numbers_changed
            values = decisions.row_summary(
                current[1], is_corrected=is_corrected, decision=read.decision
            )
            read.summary = json.dumps(values)
            session.flush()
            first, second = reads.get(access.FIRST), reads.get(access.SECOND)
            is_hidden = self._access.is_hidden(second and second.decision)
            summary = "" if first is None or is_hidden else first.summary
            decisions.show_in_worklist(session, clip, one.network, summary)
            line = store.line_of(session, read)
            options = {"slot": slot, "revision": line.head, **note}
            self._page.note(event, reader.name, clip_sha256=one.opened.sha256, **options)
        return read, line

    def _message(
        self,
        one: OpenReading,
        state: State,
        known: tuple[str, Any, ReadRow | None, store.Line],
        frames: list[int],
        begin: float,
    ) -> Reading:
        clip, slot, row, line = known
        decision: Any = row.decision if row is not None else ""
        numbers = reading_numbers(one.analysis(state), state, one.opened.network_ef)
        if state.parameters.changed:
            numbers["ef"] = with_limits(numbers["ef"], self._ef_agreement())
        return Reading(
            clip=clip,
            slot=slot,
            reader=row.reader if row is not None else "",
            signed_by=row.signed_by if row is not None else "",
            revision=state.revision,
            is_past=state.revision != line.head,
            can_undo=state.revision != 0 and not decision,
            can_redo=line.newest_child(state.revision) is not None and not decision,
            contours=contours_of(state, frames),
            decision=decision,
            decision_reason=row.reason if row is not None else "",
            milliseconds=round(1000 * (time.perf_counter() - begin), 1),
            **numbers,
        )
