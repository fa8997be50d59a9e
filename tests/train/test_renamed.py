import pytest

from echoseg.errors import ConfigError
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.renamed import RENAMED_FIELDS, with_current_names
from echoseg.train.run_folder import RunFolder


def test_every_former_field_stands_for_a_present_one():
    assert set(RENAMED_FIELDS.values()) <= TrainConfig.model_fields.keys()
    assert not set(RENAMED_FIELDS) & TrainConfig.model_fields.keys()


def test_former_names_give_the_same_config_and_a_warning():
    former = {
        "objective": "mssnet",
        "objective_options": {"mixed_share": 0.5},
        "labels": 0.5,
        "frames_labelled": "ends",
        "averaging": 0.9,
    }
    with pytest.warns(DeprecationWarning) as warned:
        config = train_config(**former)
    assert config == train_config(
        method="mssnet",
        method_options={"mix_prob": 0.5},
        labeled_fraction=0.5,
        labeled_frames="ed_es",
        ema_decay=0.9,
    )
    assert len(warned) == len(with_current_names(former)[1]) == 7


def test_a_field_given_by_both_names_is_refused():
    with pytest.raises(ConfigError, match="labeled_fraction is given twice"):
        train_config(labels=0.1, labeled_fraction=0.2)


def test_a_run_folder_of_the_former_names_still_loads_without_a_warning(tmp_path, recwarn):
    (tmp_path / "run.json").write_text('{"objective": "mssnet", "start": null, "labels": 0.5}')
    assert RunFolder(tmp_path).config() == train_config(method="mssnet", labeled_fraction=0.5)
    assert not recwarn.list
