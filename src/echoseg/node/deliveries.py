"""Results on their way to the targets of a node, and their storage commitment."""

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from echoseg.database import Database
from echoseg.node.jobs import DeliveryJob, ResultObject
from echoseg.node.records import Delivery, Row, State, Study
from echoseg.node.settings import Target

_SENT = {State.PUSHED, State.COMMITTED}


class Deliveries:
    """The part of a `Queue` that sends; each method is one transaction.

    Args:
        database: The database.
        retry: Queues a row again, or fails it: row, reason, whether another try cannot help.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        retry: Callable[[Row, str, bool], None],
        clock: Callable[[], float],
    ) -> None:
        self._database, self._retry, self._clock = database, retry, clock

    def add(
        self,
        session: Session,
        study: str,
        targets: Sequence[Target],
        objects: Sequence[ResultObject],
    ) -> None:
        """Queue objects for each target that lacks them; those that failed are tried again."""
        rows = [
            {"study": study, "target": target.name, "state": State.QUEUED, **one.model_dump()}
            for target in targets
            for one in objects
        ]
        self._database.insert_missing(session, Delivery, rows)
        again = update(Delivery).where(
            Delivery.study == study,
            Delivery.state == State.FAILED,
            Delivery.instance_uid.in_([one.instance_uid for one in objects]),
        )
        session.execute(again.values(state=State.QUEUED, attempts=0, next_attempt_s=0.0))

    def claim(self, worker: str, max_count: int = 100) -> list[DeliveryJob]:
        """Claim objects for one target, that of the object that has waited longest.

        Args:
            worker: Name of who claims them, for `Queue.recover`.
            max_count: The largest number of them.
        """
        due = (
            select(Delivery)
            .where(Delivery.state == State.QUEUED, Delivery.next_attempt_s <= self._clock())
            .order_by(Delivery.next_attempt_s, Delivery.id)
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction() as session:
            if (first := session.scalars(due.limit(1)).first()) is None:
                return []
            same = due.where(Delivery.target == first.target)
            rows = session.scalars(same.limit(max_count)).all()
            for row in rows:
                row.state, row.worker = State.RUNNING, worker
            session.flush()
            return [DeliveryJob.model_validate(row) for row in rows]

    def pushed(self, job: DeliveryJob) -> bool:
        """Note that the target has stored an object; False where it was claimed anew."""
        with self._database.transaction() as session:
            return self._end(session, job, self._push)

    def _push(self, row: Row) -> None:
        assert isinstance(row, Delivery)
        row.state, row.worker, row.reason = State.PUSHED, "", ""
        row.attempts, row.interruptions, row.pushed_s = 0, 0, self._clock()

    def failed(self, job: DeliveryJob, reason: str, *, is_final: bool = False) -> bool:
        """Note a failed try: it is queued again after a while, or failed.

        Args:
            job: The claim.
            reason: Why, without what identifies a patient.
            is_final: Whether another try cannot help.

        Returns:
            Whether it was noted; not where it was claimed anew.
        """
        with self._database.transaction() as session:
            return self._end(session, job, lambda row: self._retry(row, reason, is_final))

    def postponed(self, job: DeliveryJob, reason: str) -> bool:
        """Note that the target could not be reached: tried again for as long as it takes.

        The wait grows as after a failed try, up to an hour.

        Args:
            job: The claim.
            reason: Why, without what identifies a patient.

        Returns:
            Whether it was noted; not where it was claimed anew.
        """

        def postpone(row: Row) -> None:
            self._retry(row, reason, False)
            row.state = State.QUEUED

        with self._database.transaction() as session:
            return self._end(session, job, postpone)

    def release(self, job: DeliveryJob) -> bool:
        """Give an object back that was not sent, because the node stops."""

        def queue(row: Row) -> None:
            row.state, row.worker = State.QUEUED, ""

        with self._database.transaction() as session:
            return self._end(session, job, queue)

    def _end(self, session: Session, job: DeliveryJob, change: Callable[[Row], None]) -> bool:
        """End a claim by a change, and bring its study up to date."""
        study = session.get(Study, job.study, with_for_update=True)
        row = session.get(Delivery, job.id, with_for_update=True)
        if row is None or row.state != State.RUNNING or row.worker != job.worker:
            return False
        change(row)
        if study is not None:
            settle(session, study)
        return True

    def uncommitted(self, target: str, before_s: float) -> list[DeliveryJob]:
        """Objects at a target whose storage commitment was not asked for since a time."""
        rows = (
            select(Delivery)
            .where(Delivery.target == target, Delivery.state == State.PUSHED)
            .where(or_(Delivery.transaction_uid == "", Delivery.requested_s < before_s))
            .order_by(Delivery.id)
        )
        with self._database.transaction() as session:
            return [DeliveryJob.model_validate(row) for row in session.scalars(rows)]

    def request_commitment(self, jobs: Sequence[DeliveryJob], transaction_uid: str) -> None:
        """Note that storage commitment of some objects is asked for, before it is."""
        change = update(Delivery).where(
            Delivery.id.in_([job.id for job in jobs]), Delivery.state == State.PUSHED
        )
        with self._database.transaction() as session:
            session.execute(
                change.values(transaction_uid=transaction_uid, requested_s=self._clock())
            )

    def committed(self, transaction_uid: str, stored: Collection[str], reason: str = "") -> int:
        """Note the answer to a request of storage commitment.

        Objects of the request that the target does not hold are queued to be sent again.

        Args:
            transaction_uid: That of the request.
            stored: UIDs of the objects for which the target takes responsibility.
            reason: Why it does not for the others.

        Returns:
            The number of objects of the request; 0 where it is not one of ours.
        """
        if not transaction_uid:
            return 0
        requested = select(Delivery.id, Delivery.study).where(
            Delivery.transaction_uid == transaction_uid, Delivery.state == State.PUSHED
        )
        with self._database.transaction() as session:
            ids = session.execute(requested).all()
            for name in sorted({study for _, study in ids}):
                study = session.get(Study, name, with_for_update=True)
                for number in (number for number, of in ids if of == name):
                    row = session.get_one(
                        Delivery, number, with_for_update=True, populate_existing=True
                    )
                    row.transaction_uid = ""
                    if row.instance_uid in stored:
                        row.state = State.COMMITTED
                    else:
                        self._retry(row, reason or "not committed by the target", False)
                if study is not None:
                    settle(session, study)
            return len(ids)


def settle(session: Session, study: Study) -> None:
    """Bring a finished study to the state that its deliveries have reached together."""
    if study.state not in _SENT | {State.DONE}:
        return
    session.flush()
    states = set(session.scalars(select(Delivery.state).where(Delivery.study == study.name)))
    study.state = State.DONE
    if states <= _SENT:
        study.state = State.COMMITTED if states == {State.COMMITTED} else State.PUSHED
