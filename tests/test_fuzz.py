"""Some seconds of what `python -m fuzz.run` does for longer: only our errors come out."""

import logging
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutate import mutated
from fuzz.seeds import seeds
from fuzz.targets import TARGETS


@cache
def known(target):
    logging.disable(logging.CRITICAL)  # libraries comment on what they read
    try:
        return list(seeds(target).values())
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_read(target):
    for content in known(target):
        TARGETS[target](content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**40))
def test_only_errors_of_ours_come_out(target, number):
    TARGETS[target](mutated(known(target), number))


def test_a_number_gives_the_same_input_again():
    seed = [b"abc" * 400, b"xyz"]
    assert [mutated(seed, number) for number in range(50)] == [
        mutated(seed, number) for number in range(50)
    ]
    assert len({mutated(seed, number) for number in range(50)}) > 40


def test_seeds_are_clips_that_load(tmp_path):
    from echoseg.io import load_clip

    for name, content in seeds("clip").items():
        (tmp_path / name).write_bytes(content)
        assert load_clip(tmp_path / name).num_frames == 4, name


def test_a_reader_that_raises_something_else_would_be_found(tmp_path, monkeypatch):
    from fuzz.run import Watch

    def planted(content):
        raise KeyError("planted")

    monkeypatch.setitem(TARGETS, "planted", planted)
    watch = Watch("planted", tmp_path / "findings")
    watch.run(b"input")
    assert sum(watch.places.values()) == 1
    assert [path.read_bytes() for path in (tmp_path / "findings").iterdir()] == [b"input"]
