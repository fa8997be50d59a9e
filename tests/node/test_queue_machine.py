"""Random transitions of the queue: nothing is lost, nothing is done or sent twice."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import booleans, integers, sampled_from

from echoseg.node.jobs import Receipt
from echoseg.node.queue import Queue
from echoseg.node.records import State
from echoseg.node.settings import NodeSettings
from node_makers import Clock, instance, result

WORKERS = sampled_from(["v", "w"])


class QueueMachine(RuleBasedStateMachine):
    """One target; a result per revision of a study, its UID made of both, as by content."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.settings = NodeSettings(
            folder=self.folder, push=("PACS@127.0.0.1:104",), quiet_s=5, max_attempts=100
        )
        self.clock = Clock()
        self.queue = Queue(self.settings, self.clock)
        self.acknowledged, self.jobs, self.sending = {}, [], []
        self.analyzed, self.stored = set(), []

    def teardown(self):
        self.queue.close()
        shutil.rmtree(self.folder)

    @rule(number=integers(0, 8), content=sampled_from("ab"))
    def receive(self, number, content):
        study = number % 3
        one = instance(number, content)
        receipt = self.queue.receive(f"s{study}", f"1.9.{study + 1}", one)
        known = self.acknowledged.get(number)
        expected = Receipt.NEW if known is None else Receipt.DUPLICATE
        assert receipt == (expected if known in (None, content) else Receipt.CONFLICT)
        self.acknowledged.setdefault(number, content)

    @rule(seconds=sampled_from([1, 6, 5000]))
    def wait(self, seconds):
        self.clock.wait(seconds)
        self.queue.complete_due()

    @rule(worker=WORKERS)
    def claim(self, worker):
        if job := self.queue.claim(worker):
            ours = {n for n in self.acknowledged if f"s{n % 3}" == job.name}
            assert {one.instance_uid for one in job.instances} == {f"1.2.{n}" for n in ours}
            assert all(other.name != job.name for other in self.jobs)
            self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(outcome=sampled_from(["finish", "fail", "release"]))
    def end_study(self, outcome):
        job = self.jobs.pop(0)
        if outcome == "release":
            self.queue.release(job)
        elif outcome == "fail":
            assert self.queue.fail(job, "no memory") in (State.QUEUED, State.RECEIVED)
        else:
            key = int(job.name[1:]) * 100 + job.revision
            is_current = job.revision == sum(f"s{n % 3}" == job.name for n in self.acknowledged)
            assert self.queue.finish(job, [result(key)]) == is_current
            if is_current:
                assert key not in self.analyzed  # never twice without a new instance
                self.analyzed.add(key)

    @rule(worker=WORKERS)
    def start_sending(self, worker):
        jobs = self.queue.deliveries.claim(worker)
        uids = [one.instance_uid for one in jobs]
        assert not {*uids} & {*self.stored, *(one.instance_uid for one in self.sending)}
        self.sending += jobs

    @precondition(lambda self: self.sending)
    @rule(succeeds=booleans())
    def end_sending(self, succeeds):
        job = self.sending.pop(0)
        if succeeds:
            assert self.queue.deliveries.pushed(job)
            self.stored.append(job.instance_uid)
        else:
            assert self.queue.deliveries.failed(job, "refused")

    @rule()
    def kill(self):
        """The process ends: its claims are void, what it hands in later is not taken."""
        self.queue.close()
        self.queue = Queue(self.settings, self.clock)
        assert self.queue.recover() == len(self.jobs) + len(self.sending)
        for job in self.jobs:
            assert not self.queue.finish(job, [result(999)])
        for job in self.sending:
            assert not self.queue.deliveries.pushed(job)
        self.jobs, self.sending = [], []

    @invariant()
    def nothing_is_lost(self):
        counts = self.queue.counts()
        assert counts.instances == len(self.acknowledged)
        assert sum(counts.studies.values()) == len({n % 3 for n in self.acknowledged})
        assert counts.studies[State.RUNNING] == len(self.jobs)
        assert counts.deliveries[State.RUNNING] == len(self.sending)
        assert sum(counts.deliveries.values()) == len(self.analyzed)
        assert counts.deliveries[State.PUSHED] == len(self.stored) == len({*self.stored})


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=10, stateful_step_count=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
