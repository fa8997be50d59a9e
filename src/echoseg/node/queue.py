"""The queue of a node: studies from their first instance to their last result.

Each method is one transition in one short transaction, on disk when it returns. Several workers and
processes may use one queue; a row that another transaction has locked is skipped by claims, and
waited for by all else. A study is always locked before its deliveries.
"""

import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from echoseg.database import Database
from echoseg.node.deliveries import Deliveries, settle
from echoseg.node.jobs import Counts, Receipt, ReceivedInstance, ResultObject, StudyJob, StudyStatus
from echoseg.node.records import (
    SCHEMA_VERSION,
    Delivery,
    Instance,
    Row,
    SchemaVersion,
    State,
    Study,
)
from echoseg.node.settings import NodeSettings

MAX_INTERRUPTIONS = 20
"""A study during which the node ended this many times is failed: it may be what ends it."""
_MAX_BACKOFF_S = 3600.0
_MAX_REASON = 500


class Queue:
    """Studies, their instances, and their results on the way to each target.

    Args:
        settings: `url`, `quiet_s`, `max_instances`, `max_attempts`, `backoff_s` and `push`.
        clock: Seconds since 1970.

    Attributes:
        deliveries: The results on the way.

    Raises:
        ConfigError: If the database cannot be opened.
        OutputError: From every method, if it cannot be used.
    """

    def __init__(self, settings: NodeSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._database = Database(settings.url, SchemaVersion, SCHEMA_VERSION)
        self.deliveries = Deliveries(self._database, self._retry, clock)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def find(self, instance_uid: str) -> ReceivedInstance | None:
        """The instance of a UID, if it was received."""
        with self._database.transaction() as session:
            row = session.get(Instance, instance_uid)
            return row and ReceivedInstance.model_validate(row)

    def receive(self, study: str, study_uid: str, instance: ReceivedInstance) -> Receipt:
        """Note an instance whose file is on disk.

        Its study goes back to `received`, from wherever it was; one that is running stays so, and
        its result, which lacks this instance, will not be taken.

        Args:
            study: Name of the study.
            study_uid: Its Study Instance UID.
            instance: The instance.
        """
        try:
            return self._receive(study, study_uid, instance)
        except IntegrityError:  # another transaction inserted it meanwhile
            return self._receive(study, study_uid, instance)

    def _receive(self, study: str, study_uid: str, instance: ReceivedInstance) -> Receipt:
        now = self._clock()
        with self._database.transaction() as session:
            new = {"name": study, "study_uid": study_uid, "last_received_s": now}
            self._database.insert_missing(session, Study, [new | {"state": State.RECEIVED}])
            by_uid = select(Study).where(
                Study.study_uid == study_uid
            )  # the key of names may change
            row = session.scalars(by_uid.with_for_update()).one()
            if known := session.get(Instance, instance.instance_uid):
                is_same = known.sha256 == instance.sha256 and known.study == row.name
                return Receipt.DUPLICATE if is_same else Receipt.CONFLICT
            session.add(Instance(study=row.name, received_s=now, **instance.model_dump()))
            row.revision += 1
            row.last_received_s = now
            if row.state != State.RUNNING:
                _to(row, State.RECEIVED)
            return Receipt.NEW

    def complete_due(self) -> int:
        """Queue the studies that are complete; return their number.

        They are after a quiet time, or at a number of instances since their last result.
        """
        # the clock may have been set back, so a time in the future is not one to wait for
        is_quiet = func.abs(self._clock() - Study.last_received_s) >= self._settings.quiet_s
        is_full = Study.revision - Study.analyzed >= self._settings.max_instances
        due = (
            select(Study)
            .where(Study.state == State.RECEIVED, or_(is_quiet, is_full))
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction() as session:
            return _all_to(session.scalars(due), State.QUEUED)

    def claim(self, worker: str) -> StudyJob | None:
        """Claim the study that has waited longest; None where none is due.

        Args:
            worker: Name of who claims it, for `recover`.
        """
        due = (
            select(Study)
            .where(Study.state == State.QUEUED, Study.next_attempt_s <= self._clock())
            .order_by(Study.next_attempt_s, Study.last_received_s, Study.name)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction() as session:
            if (row := session.scalars(due).first()) is None:
                return None
            row.state, row.worker = State.RUNNING, worker
            by_time = (Instance.received_s, Instance.instance_uid)
            instances = session.scalars(
                select(Instance).where(Instance.study == row.name).order_by(*by_time)
            )
            return StudyJob(
                name=row.name,
                study_uid=row.study_uid,
                revision=row.revision,
                attempts=row.attempts,
                worker=worker,
                instances=tuple(map(ReceivedInstance.model_validate, instances)),
            )

    def finish(self, job: StudyJob, objects: Sequence[ResultObject], reason: str = "") -> bool:
        """Take the results of a study, and queue them for every target that lacks them.

        Args:
            job: The claim.
            objects: The objects to send, on disk.
            reason: Why there is less than a full result, where there is.

        Returns:
            Whether they were taken; not where an instance came meanwhile, or it was claimed anew.
        """
        with self._database.transaction() as session:
            if (row := _locked(session, job)) is None:
                return False
            if row.revision != job.revision:
                _to(row, State.RECEIVED)
                return False
            self.deliveries.add(session, row.name, self._settings.push, objects)
            _to(row, State.DONE, reason[:_MAX_REASON])
            row.finished_s, row.analyzed = self._clock(), row.revision
            if self._settings.push:
                settle(session, row)
            return True

    def fail(self, job: StudyJob, reason: str, *, is_final: bool = False) -> State | None:
        """Note a failed try: it is queued again after a while, or failed.

        Args:
            job: The claim.
            reason: Why, without what identifies a patient.
            is_final: Whether another try cannot help.

        Returns:
            The state it is in now; None where it was claimed anew.
        """
        with self._database.transaction() as session:
            if (row := _locked(session, job)) is None:
                return None
            if row.revision != job.revision:
                _to(row, State.RECEIVED)
            else:
                self._retry(row, reason, is_final)
            return State(row.state)

    def release(self, job: StudyJob) -> None:
        """Give a study back that was not analyzed, because the node stops."""
        with self._database.transaction() as session:
            if row := _locked(session, job):
                row.state, row.worker = State.QUEUED, ""

    def recover(self, worker: str = "") -> int:
        """Queue again what workers that died had claimed, behind what waits.

        Call it before workers start.

        Args:
            worker: Name of a worker; empty for all of them, where no other node uses the database.

        Returns:
            The number of studies and deliveries.
        """
        now = self._clock()
        number = 0
        with self._database.transaction() as session:
            for table in (Study, Delivery):
                rows = select(table).where(table.state == State.RUNNING).with_for_update()
                if worker:
                    rows = rows.where(table.worker == worker)
                for row in session.scalars(rows):
                    number += 1
                    row.state, row.worker, row.next_attempt_s = State.QUEUED, "", now
                    row.interruptions += 1
                    if row.interruptions >= MAX_INTERRUPTIONS:
                        row.state = State.FAILED
                        row.reason = f"the node ended or failed {MAX_INTERRUPTIONS} times during it"
        return number

    def retry(self, study: str = "") -> int:
        """Queue again what is failed; return the number of studies and deliveries.

        Args:
            study: Name of a study; empty for all.
        """
        fresh = {"state": State.QUEUED, "attempts": 0, "interruptions": 0, "next_attempt_s": 0.0}
        number = 0
        with self._database.transaction() as session:
            for table, name in ((Study, Study.name), (Delivery, Delivery.study)):
                change = update(table).where(table.state == State.FAILED).values(**fresh)
                result = session.execute(change.where(name == study) if study else change)
                number += getattr(result, "rowcount", 0)
        return number

    def expired(self, before_s: float) -> list[str]:
        """Names of the studies whose results were all sent, finished before a time."""
        is_sent = Study.state.in_((State.PUSHED, State.COMMITTED))
        with self._database.transaction() as session:
            return list(
                session.scalars(select(Study.name).where(is_sent, Study.finished_s < before_s))
            )

    def is_sent(self, study: str) -> bool:
        """Whether the results of a study were all sent."""
        with self._database.transaction() as session:
            row = session.get(Study, study)
            return row is not None and row.state in (State.PUSHED, State.COMMITTED)

    def remove(self, study: str) -> bool:
        """Remove the rows of a study; False where its results were not all sent, and they stay."""
        with self._database.transaction() as session:
            row = session.get(Study, study, with_for_update=True)
            if row is not None and row.state not in (State.PUSHED, State.COMMITTED):
                return False
            for table in (Delivery, Instance):
                session.execute(delete(table).where(table.study == study))
            session.execute(delete(Study).where(Study.name == study))
            return True

    def num_bytes(self) -> int:
        """Bytes of all received instances."""
        with self._database.transaction() as session:
            return int(session.scalar(select(func.coalesce(func.sum(Instance.num_bytes), 0))) or 0)

    def paths(self) -> set[str]:
        """Paths of all received instances."""
        with self._database.transaction() as session:
            return set(session.scalars(select(Instance.path)))

    def received(self, instance_uids: Collection[str]) -> dict[str, ReceivedInstance]:
        """Those of some instances that were received, by UID."""
        with self._database.transaction() as session:
            rows = session.scalars(
                select(Instance).where(Instance.instance_uid.in_(list(instance_uids)))
            )
            return {row.instance_uid: ReceivedInstance.model_validate(row) for row in rows}

    def counts(self) -> Counts:
        """Numbers of the whole node."""
        with self._database.transaction() as session:
            by_state = {
                table: dict(session.execute(count.group_by(table.state)).all())
                for table in (Study, Delivery)
                for count in [select(table.state, func.count())]
            }
            instances, num_bytes = session.execute(
                select(func.count(), func.coalesce(func.sum(Instance.num_bytes), 0))
            ).one()
            waiting = select(func.min(Study.last_received_s)).where(Study.state == State.QUEUED)
            return Counts(
                studies={state: by_state[Study].get(state, 0) for state in State},
                deliveries={state: by_state[Delivery].get(state, 0) for state in State},
                instances=instances,
                num_bytes=int(num_bytes),
                oldest_waiting_s=session.scalar(waiting),
            )

    def studies(self, states: Collection[State] = (), limit: int = 100) -> list[StudyStatus]:
        """The studies, newest first.

        Args:
            states: Only those in one of these states; all where it is empty.
            limit: The largest number of them.
        """
        rows = select(Study).order_by(Study.last_received_s.desc(), Study.name).limit(limit)
        if states:
            rows = rows.where(Study.state.in_(list(states)))
        with self._database.transaction() as session:
            return [StudyStatus.model_validate(row) for row in session.scalars(rows)]

    def _retry(self, row: Row, reason: str, is_final: bool) -> None:
        """Queue a row again after a time that doubles with each try, up to a random 25 % longer."""
        attempts = row.attempts + 1
        is_failed = is_final or attempts >= self._settings.max_attempts
        wait_s = self._settings.backoff_s * 2.0 ** min(attempts - 1, 20)
        row.state, row.worker = (State.FAILED if is_failed else State.QUEUED), ""
        row.attempts, row.reason = attempts, reason[:_MAX_REASON]
        row.next_attempt_s = self._clock() + min(wait_s, _MAX_BACKOFF_S) * random.uniform(1, 1.25)


def _locked(session: Session, job: StudyJob) -> Study | None:
    """The row of a claim, locked; None where the claim is no longer valid."""
    row = session.get(Study, job.name, with_for_update=True)
    is_valid = row is not None and row.state == State.RUNNING and row.worker == job.worker
    return row if is_valid else None


def _to(row: Study, state: State, reason: str = "") -> None:
    """Bring a study to a state that is not a retry."""
    row.state, row.worker, row.reason = state, "", reason
    row.attempts, row.interruptions, row.next_attempt_s = 0, 0, 0.0


def _all_to(rows: Iterable[Study], state: State) -> int:
    number = 0
    for row in rows:
        _to(row, state)
        number += 1
    return number
