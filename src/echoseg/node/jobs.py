"""What goes into a node's queue and comes out of it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from echoseg.node.records import State


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class ResultObject(_Record):
    """A DICOM object to be sent: its class, its UID, and its file."""

    class_uid: str
    instance_uid: str
    path: str


class ReceivedInstance(ResultObject):
    """A received SOP instance; `path` is relative to the node's folder."""

    transfer_syntax: str
    sha256: str
    num_bytes: int
    sender: str


class Receipt(StrEnum):
    """What became of an instance: `new`, known with the same bytes, or known with other bytes."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class StudyJob(_Record):
    """A study that a worker has claimed, with all its instances.

    `revision` and `worker` are those of the claim: what the worker hands in later is not taken
    where the study has changed or was claimed anew meanwhile.
    """

    name: str
    study_uid: str
    revision: int
    attempts: int
    worker: str
    instances: tuple[ReceivedInstance, ...]


class DeliveryJob(ResultObject):
    """A result that a worker sends to a target."""

    id: int
    study: str
    target: str
    attempts: int
    worker: str


class StudyStatus(_Record):
    """One study, for `echoseg node status`."""

    name: str
    state: State
    revision: int
    attempts: int
    last_received_s: float
    next_attempt_s: float
    reason: str


class Counts(_Record):
    """Numbers of the whole node.

    Attributes:
        studies: Number of studies in each state, all states included.
        deliveries: Number of deliveries in each state, all states included.
        instances: Number of received instances.
        num_bytes: Their bytes.
        oldest_waiting_s: Time (seconds since 1970) of the last instance of the study that has
            waited longest for its analysis; None where none waits.
    """

    studies: dict[State, int]
    deliveries: dict[State, int]
    instances: int
    num_bytes: int
    oldest_waiting_s: float | None
