"""Training patients that are held out to find a plateau."""

from dataclasses import replace
from pathlib import Path

import pytest

from animated_makers import write_training_patients
from curve_makers import small_bench
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


@pytest.fixture(scope="module")
def camus(tmp_path_factory):
    """CAMUS with six training patients."""
    root = tmp_path_factory.mktemp("camus")
    write_training_patients(root, 6)
    return root


@pytest.mark.parametrize("order", [("", "animated:"), ("animated:", ""), ("animated:", "", "x")])
def test_a_patient_is_held_out_of_every_reading_of_a_folder(camus, tmp_path, order):
    link = tmp_path / "link"
    link.symlink_to(camus)
    data = [str(link) if prefix == "x" else f"{prefix}{camus}" for prefix in order]
    parts = hold_out(data, seed=3)
    held = {record.patient for record in parts.validation.records}
    assert len(held) == 1
    assert len(parts.validation.records) == 2 * len(data)
    for prefix, part in zip(order, parts.data, strict=True):
        patients = {record.patient for record in part.records}
        assert len(patients) == 5 and not patients & held
        assert len(part.records) == 10 * (4 if prefix == "animated:" else 1)


def test_a_copy_with_the_same_patients_has_none_of_the_held_out_ones(monkeypatch):
    whole, some = dataset("", 20), dataset("", 11)
    sets = {"whole": whole, "cache": replace(some, root=Path("cache"))}
    monkeypatch.setattr(held_out, "load_dataset", sets.__getitem__)
    parts = hold_out(("whole", "cache"))
    held = {record.patient for record in parts.validation.records}
    assert 2 <= len(held) <= 3
    assert not any(record.patient in held for part in parts.data for record in part.records)
    sets["cache"] = replace(some, records=some.records[:4])
    with pytest.raises(ConfigError, match="cache must have training patients that are not held"):
        for seed in range(200):  # two patients of 20 in two draws
            hold_out(("whole", "cache"), seed)


def test_further_data_of_the_same_folder_are_refused(camus):
    for field in ("extra_data", "unlabeled_data"):
        with pytest.raises(ConfigError, match=f"{field} must be of other patients than data"):
            small_bench(data=(str(camus),), settings={field: [f"animated:{camus}:train"]})
    small_bench(data=(str(camus),), settings={"extra_data": ["phantom:4"]})


def test_simulated_clips_are_followed_by_others():
    assert hold_out(("phantom:30",)).validation == "phantom:4:30"
    assert hold_out(("phantom:100:7",)).validation == "phantom:10:107"
    with pytest.raises(ConfigError, match="phantom:N or phantom:N:FIRST_SEED"):
        hold_out(("phantom:few",))


def test_one_patient_cannot_be_held_out(monkeypatch):
    monkeypatch.setattr(held_out, "load_dataset", lambda name: dataset("a", 1))
    with pytest.raises(ConfigError, match="at least 2 training patients"):
        hold_out(("a",))
