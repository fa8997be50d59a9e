"""The parts of a node that work: studies to results, results to targets; in steps."""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from importlib.metadata import version
from itertools import groupby
from threading import Event
from typing import Any

from echoseg.audit import AuditLog
from echoseg.audit import Event as AuditEvent
from echoseg.errors import EchosegError
from echoseg.node.analysis import StudyResult, StudyTask, analyze_study, load_model, study_settings
from echoseg.node.jobs import DeliveryJob, StudyJob
from echoseg.node.log import log_event
from echoseg.node.push import push, request_commitment
from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings, Target
from echoseg.parallel import Limits, Loss, WorkerPool

Analyze = Callable[[StudyTask], StudyResult]
AUDIT = "audit.jsonl"
STUDIES = "studies"
_COMMITMENT_AGAIN_S = 3600.0
_MAX_COMMITMENT = 1000
_STUDY_MEMORY_GB = 6.0
_STUDY_TIMEOUT_S = 3600.0


def worker_name(part: str) -> str:
    """Name of a worker, by which its claims are known."""
    return f"{socket.gethostname()}:{os.getpid()}:{part}"[:128]


class StudyWorker:
    """Analyzes studies, one at a time, in a process that stays.

    Args:
        settings: Folder and model.
        queue: Where studies come from.
        analyze: What is done with a study, in the process.
    """

    def __init__(
        self, settings: NodeSettings, queue: Queue, analyze: Analyze = analyze_study
    ) -> None:
        self._settings, self._queue = settings, queue
        self._how = study_settings(settings.model)
        self._audit = AuditLog(settings.folder / AUDIT)
        self._name = worker_name(STUDIES)
        self._pool = WorkerPool(
            analyze,
            1,
            limits=Limits(timeout_s=_STUDY_TIMEOUT_S, memory_gb=_STUDY_MEMORY_GB),
            on_loss=lambda task, loss: loss,
            prepare=_Prepare(self._how) if analyze is analyze_study else None,
        )

    def step(self) -> bool:
        """Analyze a study; False where none is due."""
        job = self._queue.claim(self._name)
        if job is None:
            return False
        begun_s = time.monotonic()
        task = StudyTask(
            folder=self._settings.folder.absolute(),
            name=job.name,
            settings=self._how,
            is_careful=job.attempts > 0,
            is_last=job.attempts + 1 >= self._settings.max_attempts,
            simplified_sr=self._settings.simplified_sr,
        )
        try:
            result = self._pool.submit(task).result()
        except CancelledError:
            self._queue.release(job)
            return False
        except EchosegError as error:
            self._fail(job, str(error))
            return True
        except Exception as error:
            self._fail(job, f"unexpected, please report it: {type(error).__name__}")
            return True
        if isinstance(result, Loss):
            self._fail(job, result.reason)
        else:
            self._finish(job, result, time.monotonic() - begun_s)
        return True

    def _finish(self, job: StudyJob, result: StudyResult, duration_s: float) -> None:
        self._log(job, result)
        is_taken = self._queue.finish(job, result.objects, result.reason)
        log_event(
            "study analyzed" if is_taken else "study has changed, to be analyzed again",
            study=job.name,
            instances=len(job.instances),
            objects=len(result.objects),
            duration_s=round(duration_s, 3),
            reason=result.reason,
        )

    def _fail(self, job: StudyJob, reason: str) -> None:
        state = self._queue.fail(job, reason)
        log_event("study failed", logging.ERROR, study=job.name, state=state, reason=reason)

    def _log(self, job: StudyJob, result: StudyResult) -> None:
        content = "".join(sorted(one.sha256 for one in job.instances))
        senders = sorted({one.sender for one in job.instances})
        self._audit.append(
            AuditEvent(
                event="analyzed",
                input_sha256=hashlib.sha256(content.encode()).hexdigest(),
                model_sha256=self._how.model_sha256,
                result_sha256=result.sha256,
                version=version("echoseg"),
                options={"study": job.name, "instances": len(job.instances), "senders": senders},
            )
        )

    def stop(self) -> None:
        """Stop the study in work, which is given back."""
        self._pool.stop()

    def close(self) -> None:
        """Wait for the process to end."""
        self._pool.close(is_finished=False)


class _Prepare:
    """Loads the model in a worker process."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def __call__(self) -> None:
        load_model(self._settings)


class Deliverer:
    """Sends results to their targets, and asks for storage commitment.

    Args:
        settings: Folder, targets, commitment.
        queue: Where results come from.
        on_report: Takes an answer of storage commitment.
        stop: No further object is sent once it is set.
        part: What it is called, unlike others.
    """

    def __init__(
        self,
        settings: NodeSettings,
        queue: Queue,
        on_report: Callable[[Any], Any],
        stop: Event,
        part: str = "deliveries",
    ) -> None:
        self._settings, self._queue, self._on_report = settings, queue, on_report
        self._stop, self._name = stop, worker_name(part)
        self._audit = AuditLog(settings.folder / AUDIT)
        self._targets = {target.name: target for target in settings.push}

    def step(self) -> bool:
        """Send what is due to one target; False where nothing is."""
        jobs = self._queue.deliveries.claim(self._name)
        for name, of_target in groupby(jobs, key=lambda job: job.target):
            target = self._targets.get(name) or Target.parse(name)
            left = list(of_target)
            for job, sent in push(self._settings, target, list(left)):
                left.remove(job)
                self._note(job, sent.kind, sent.reason)
                if self._stop.is_set():
                    break
            for job in left:
                self._queue.deliveries.release(job)
        if self._settings.commitment and not self._stop.is_set():
            for target in self._settings.push:
                self._commit(target)
        return bool(jobs)

    def _note(self, job: DeliveryJob, kind: str, reason: str) -> None:
        name = job.path.rpartition("/")[2]
        fields: dict[str, Any] = {"study": job.study, "target": job.target, "object": name}
        deliveries = self._queue.deliveries
        if kind == "stored":
            deliveries.pushed(job)
            content = (self._settings.folder / job.path).read_bytes()
            self._audit.append(
                AuditEvent(
                    event="pushed",
                    result_sha256=hashlib.sha256(content).hexdigest(),
                    version=version("echoseg"),
                    options=fields,
                )
            )
            log_event("result pushed", **fields)
            return
        if kind == "unreachable":
            deliveries.postponed(job, reason)
        else:
            deliveries.failed(job, reason, is_final=kind == "refused")
        log_event("result not pushed", logging.WARNING, kind=kind, reason=reason, **fields)

    def _commit(self, target: Target) -> None:
        """Ask for commitment of what a DICOM target has and was not asked about."""
        from pydicom.uid import generate_uid

        if target.is_web:
            return
        before_s = time.time() - _COMMITMENT_AGAIN_S
        jobs = self._queue.deliveries.uncommitted(target.name, before_s)[:_MAX_COMMITMENT]
        if not jobs:
            return
        uid = str(generate_uid(prefix=None))
        self._queue.deliveries.request_commitment(jobs, uid)
        why = request_commitment(self._settings, target, jobs, uid, self._on_report)
        level = logging.WARNING if why else logging.INFO
        log_event("commitment requested", level, target=target.name, results=len(jobs), reason=why)
