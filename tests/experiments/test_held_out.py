"""Training patients that are held out to find a plateau."""

from pathlib import Path

import pytest

from echoseg.clip import View
from echoseg.data import Dataset, Record
from echoseg.errors import ConfigError
from experiments import held_out
from experiments.held_out import hold_out


def dataset(name, patients, splits=("train",)):
    records = tuple(
        Record(
            name=f"{name}{patient}{view}{split}", patient=f"{name}{patient}{split}", view=view,
            files=(), read=lambda: None, split=split,
        )
        for split in splits
        for patient in range(patients)
        for view in (View.A4C, View.A2C)
    )  # fmt: skip
    return Dataset(name="custom", root=Path(name), records=records)


def test_a_tenth_of_the_training_patients_is_held_out(monkeypatch):
    sets = {"a": dataset("a", 20, ("train", "validation", "test")), "b": dataset("b", 10)}
    monkeypatch.setattr(held_out, "load_dataset", sets.__getitem__)
    parts = hold_out(("a", "phantom:30", "b"))
    assert parts.data[1] == "phantom:30"
    kept = [{r.patient for r in part.records} for part in parts.data if part != "phantom:30"]
    held = {r.patient for r in parts.validation.records}
    assert [len(patients) for patients in kept] == [18, 9] and len(held) == 3
    assert not held & (kept[0] | kept[1])
    assert not any("validation" in name or "test" in name for name in held | kept[0])
    assert {r.split for r in parts.validation.records} == {"validation"}
    assert len(parts.validation.records) == 2 * len(held)  # both views
    again, other = hold_out(("a", "b")), hold_out(("a", "b"), seed=1)
    assert {r.patient for r in again.validation.records} == held
    assert {r.patient for r in other.validation.records} != held


def test_simulated_clips_are_followed_by_others():
    assert hold_out(("phantom:30",)).validation == "phantom:4:30"
    assert hold_out(("phantom:100:7",)).validation == "phantom:10:107"
    with pytest.raises(ConfigError, match="phantom:N or phantom:N:FIRST_SEED"):
        hold_out(("phantom:few",))


def test_one_patient_cannot_be_held_out(monkeypatch):
    monkeypatch.setattr(held_out, "load_dataset", lambda name: dataset("a", 1))
    with pytest.raises(ConfigError, match="at least 2 training patients"):
        hold_out(("a",))
