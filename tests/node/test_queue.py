"""The queue on SQLite and PostgreSQL: every transition, several workers at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from echoseg.errors import ConfigError, OutputError
from echoseg.node.jobs import Receipt
from echoseg.node.queue import MAX_INTERRUPTIONS, Queue
from echoseg.node.records import State
from node_makers import instance, result

PACS, WEB = "PACS@127.0.0.1:104", "http://127.0.0.1/dicom-web"


def put(queue, number=1, study="s1", content="a"):
    return queue.receive(study, f"1.9.{study[1:]}", instance(number, content))


def state(queue, study="s1"):
    return next(one.state for one in queue.studies() if one.name == study)


def claimed(queue, clock, number=1, study="s1", worker="w"):
    put(queue, number, study)
    clock.wait(31)
    queue.complete_due()
    return queue.claim(worker)


def test_a_study_goes_from_its_instances_to_commitment(queue, clock):
    assert put(queue, 1) == put(queue, 2) == Receipt.NEW
    assert (queue.complete_due(), queue.claim("w"), state(queue)) == (0, None, "received")
    clock.wait(30)
    assert (queue.complete_due(), state(queue)) == (1, "queued")
    job = queue.claim("w")
    assert (state(queue), queue.claim("w")) == ("running", None)
    assert job.study_uid == "1.9.1"
    assert job.instances == (instance(1), instance(2))
    assert queue.finish(job, [result(1), result(2)])
    assert state(queue) == "done"
    for _ in (PACS, WEB):
        jobs = queue.deliveries.claim("w")
        assert len(jobs) == 2 and len({one.target for one in jobs}) == 1
        assert all(queue.deliveries.pushed(one) for one in jobs)
        if jobs[0].target == PACS:
            assert state(queue) == "done"
    assert (state(queue), queue.deliveries.claim("w")) == ("pushed", [])
    for number, target in enumerate((PACS, WEB)):
        jobs = queue.deliveries.uncommitted(target, clock.now - 100)
        queue.deliveries.request_commitment(jobs, f"2.25.{number}")
        assert queue.deliveries.uncommitted(target, clock.now - 100) == []
        assert queue.deliveries.committed(f"2.25.{number}", ["2.25.1", "2.25.2"]) == 2
        assert state(queue) == ("committed" if number else "pushed")
    assert queue.deliveries.committed("2.25.0", ["2.25.1"]) == 0
    counts = queue.counts()
    assert counts.studies == {one: int(one == "committed") for one in State}
    assert counts.deliveries[State.COMMITTED] == 4
    assert (counts.instances, counts.num_bytes, counts.oldest_waiting_s) == (2, 200, None)


def test_a_study_of_many_instances_is_complete_at_once(queue, clock):
    for number in range(3):
        assert queue.complete_due() == 0
        put(queue, number)
    assert queue.complete_due() == 1
    queue.finish(queue.claim("w"), [])
    put(queue, 4)
    assert queue.complete_due() == 0  # one new instance is not many
    clock.wait(-86_400)  # a clock that was set back delays nothing
    assert queue.complete_due() == 1


def test_a_known_instance_is_no_work_and_other_bytes_are_a_conflict(queue, clock):
    job = claimed(queue, clock)
    queue.finish(job, [])
    assert put(queue, 1) == Receipt.DUPLICATE
    assert put(queue, 1, content="b") == Receipt.CONFLICT
    assert put(queue, 1, study="s2") == Receipt.CONFLICT  # one UID cannot be in two studies
    assert state(queue) == "pushed"  # there was nothing to send
    assert queue.find("1.2.1") == instance(1)
    assert queue.find("1.2.9") is None
    assert queue.received(["1.2.1", "1.2.9"]) == {"1.2.1": instance(1)}
    assert queue.paths() == {"studies/s/1-a.dcm"}


def test_a_late_instance_makes_a_result_out_of_date(queue, clock):
    job = claimed(queue, clock)
    put(queue, 2)
    assert state(queue) == "running"
    assert not queue.finish(job, [result(1)])
    assert (state(queue), queue.deliveries.claim("w")) == ("received", [])
    clock.wait(31)
    queue.complete_due()
    job = queue.claim("w")
    assert len(job.instances) == 2
    assert queue.finish(job, [result(1)])
    put(queue, 3)
    assert state(queue) == "received"
    clock.wait(31)
    queue.complete_due()
    assert queue.finish(queue.claim("w"), [result(1), result(2)])
    assert queue.counts().deliveries[State.QUEUED] == 4  # two targets, nothing doubled


def test_a_failed_try_waits_longer_each_time_and_the_last_one_is_final(queue, clock):
    job = claimed(queue, clock)
    for wait_s in (10, 20):
        assert queue.fail(job, "no memory") == State.QUEUED
        clock.wait(wait_s - 1)
        assert queue.claim("w") is None
        clock.wait(1 + wait_s / 4)
        job = queue.claim("w")
    assert queue.fail(job, "x" * 10_000) == State.FAILED
    (study,) = queue.studies([State.FAILED])
    assert (study.attempts, study.reason) == (3, "x" * 500)
    assert queue.fail(job, "again") is None
    assert (queue.retry("s9"), queue.retry("s1")) == (0, 1)
    assert queue.fail(queue.claim("w"), "unreadable", is_final=True) == State.FAILED
    put(queue, 2)
    assert state(queue) == "received"


def test_a_failure_of_an_out_of_date_claim_does_not_count(queue, clock):
    job = claimed(queue, clock)
    put(queue, 2)
    assert queue.fail(job, "no memory") == State.RECEIVED


def test_after_a_kill_what_ran_is_queued_and_the_dead_worker_changes_nothing(queue, clock):
    job = claimed(queue, clock, 1, "s1")
    other = claimed(queue, clock, 2, "s2", worker="v")
    assert queue.recover("w") == 1
    assert (state(queue, "s1"), state(queue, "s2")) == ("queued", "running")
    assert not queue.finish(job, [result(1)])
    assert queue.finish(other, [result(2)])
    again = queue.claim("u")
    assert again.instances == job.instances
    assert not queue.finish(job, [result(1)])
    assert queue.finish(again, [result(1)])
    sent = queue.deliveries.claim("w")
    assert queue.recover() == len(sent) == 2
    assert not queue.deliveries.pushed(sent[0])
    assert [one.id for one in queue.deliveries.claim("w")] != []


def test_a_study_that_always_ends_the_node_is_failed(queue, clock):
    claimed(queue, clock)
    for _ in range(MAX_INTERRUPTIONS):
        assert state(queue) == "running"
        queue.recover()
        queue.claim("w")
    assert state(queue) == "failed"


def test_what_a_kill_interrupted_goes_behind_what_waits(queue, clock):
    claimed(queue, clock, 1, "s1")
    put(queue, 2, "s2")
    clock.wait(31)
    queue.complete_due()
    queue.recover()
    assert [queue.claim("w").name for _ in range(2)] == ["s2", "s1"]


def test_a_released_study_is_queued_without_a_try(queue, clock):
    queue.release(claimed(queue, clock))
    assert state(queue) == "queued"
    assert queue.claim("v").attempts == 0


def test_a_delivery_is_tried_again_and_then_failed(queue, clock):
    queue.finish(claimed(queue, clock), [result(1)])
    (web,) = [one for _ in range(2) for one in queue.deliveries.claim("w") if one.target == WEB]
    assert queue.deliveries.pushed(web) and not queue.deliveries.pushed(web)
    for _ in range(2):
        assert queue.recover() in (0, 1)
        (job,) = queue.deliveries.claim("w")
        assert queue.deliveries.failed(job, "refused")
        assert queue.deliveries.claim("w") == []
        clock.wait(100)
    (job,) = queue.deliveries.claim("w")
    assert queue.deliveries.release(job)
    (job,) = queue.deliveries.claim("w")
    assert queue.deliveries.failed(job, "refused")
    assert queue.counts().deliveries[State.FAILED] == 1
    assert state(queue) == "done"
    assert queue.retry("s1") == 1
    assert queue.deliveries.pushed(*queue.deliveries.claim("w"))
    assert state(queue) == "pushed"


def test_what_a_target_does_not_hold_is_sent_again(queue, clock):
    queue.finish(claimed(queue, clock), [result(1), result(2)])
    for job in queue.deliveries.claim("w"):
        queue.deliveries.pushed(job)
    target = PACS
    jobs = queue.deliveries.uncommitted(target, clock.now)
    queue.deliveries.request_commitment(jobs, "2.25.7")
    clock.wait(100)
    assert len(queue.deliveries.uncommitted(target, clock.now)) == 2  # no answer: asked anew
    assert queue.deliveries.committed("2.25.7", ["2.25.1"], "not stored") == 2
    counts = queue.counts().deliveries
    assert (counts[State.COMMITTED], counts[State.QUEUED]) == (1, 3)
    assert queue.deliveries.committed("", ["2.25.1"]) == 0


def test_only_what_was_sent_is_removed(queue, clock):
    queue.finish(claimed(queue, clock), [result(1)])
    assert queue.expired(clock.now + 1) == []
    assert not queue.remove("s1")
    for _ in range(2):
        queue.deliveries.pushed(*queue.deliveries.claim("w"))
    assert queue.expired(clock.now) == []
    assert queue.expired(clock.now + 1) == ["s1"]
    assert queue.is_sent("s1")
    assert queue.remove("s1") and queue.remove("s1") and not queue.is_sent("s1")
    assert queue.counts().instances == 0
    assert put(queue, 1) == Receipt.NEW  # a resent study is analyzed anew


def test_workers_at_once_claim_each_study_and_each_object_once(queue, clock):
    for number in range(12):
        put(queue, number, f"s{number}")
    clock.wait(31)
    assert queue.complete_due() == 12

    def work(worker):
        names = []
        while job := queue.claim(f"w{worker}"):
            names.append(job.name)
            assert queue.finish(job, [result(int(job.name[1:]))])
        sent = []
        while jobs := queue.deliveries.claim(f"w{worker}", max_count=5):
            sent += [(one.target, one.instance_uid) for one in jobs]
            assert all(map(queue.deliveries.pushed, jobs))
        return names, sent

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(work, range(4)))
    names = [name for part, _ in parts for name in part]
    sent = [one for _, part in parts for one in part]
    assert sorted(names) == sorted(f"s{number}" for number in range(12))
    assert len(sent) == len(set(sent)) == 24
    assert queue.counts().studies[State.PUSHED] == 12


def test_the_same_instance_at_once_is_received_once(queue):
    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(lambda n: put(queue, n // 4, "s1"), range(16)))
    assert sorted(receipts) == ["duplicate"] * 12 + ["new"] * 4
    (study,) = queue.studies()
    assert study.revision == 4


def test_what_was_received_is_there_after_a_new_start(queue, settings, clock):
    put(queue, 1)
    queue.close()
    again = Queue(settings, clock)
    assert put(again, 1) == Receipt.DUPLICATE
    again.close()


def test_a_database_of_another_version_is_refused(queue, settings):
    with queue._database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 0")
    with pytest.raises(ConfigError, match="must be a database of version 1"):
        Queue(settings)


def test_a_database_that_is_gone_is_one_sentence(tmp_path, settings):
    url = "postgresql://someone:secret@127.0.0.1:1/nowhere"
    with pytest.raises(OutputError, match="cannot be used") as refusal:
        Queue(settings.model_copy(update={"database_url": url}))
    assert "secret" not in str(refusal.value)
    for url in ("mysql://host/name", "not a URL"):
        with pytest.raises(ConfigError, match="database_url"):
            Queue(settings.model_copy(update={"database_url": url}))
