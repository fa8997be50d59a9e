import pytest
import torch
from torch.utils.data import DataLoader

from dataset_makers import MAKERS
from echoseg.data import load_dataset
from echoseg.data.torch_dataset import ClipCache, TorchDataset
from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL


@pytest.mark.parametrize("name", ["camus", "echonet_dynamic", "custom"])
def test_items_are_dicts_of_tensors(tmp_path, name):
    data = load_dataset(MAKERS[name](tmp_path).root)
    items = data.to_torch(size=64, num_frames=5)
    assert len(items) == len(data)
    for index, record in enumerate(data.records):
        item = items[index]
        assert item["frames"].shape == (5, 1, 64, 64)
        assert item["frames"].dtype == torch.float32
        assert 0 <= item["frames"].min() < item["frames"].max() <= 1
        assert item["masks"].shape == (5, 64, 64)
        assert item["masks"].dtype == torch.int64
        assert set(item["masks"].unique().tolist()) <= {0, 1, 2, 3, IGNORE_LABEL}
        assert (item["name"], item["patient"], item["view"]) == (
            record.name, record.patient, record.view
        )  # fmt: skip


def test_frames_run_from_ed_to_es_and_only_traced_ones_have_masks(tmp_path):
    data = load_dataset(MAKERS["echonet_dynamic"](tmp_path).root)
    clip, annotation = data[0]
    item = data.to_torch(size=112, num_frames=4)[0]
    assert item["times_s"][[0, -1]].tolist() == pytest.approx(
        [clip.times_s[annotation.ed_frame], clip.times_s[annotation.es_frame]]
    )
    known = (item["masks"] != IGNORE_LABEL).flatten(1).all(1)
    assert known.tolist() == [True, False, False, True]


def test_a_data_loader_and_a_transform_take_it(tmp_path):
    data = load_dataset(MAKERS["camus"](tmp_path).root)
    items = data.to_torch(size=32, num_frames=3, transform=lambda item: item["frames"] * 2)
    batch = next(iter(DataLoader(items, batch_size=2)))
    assert batch.shape == (2, 3, 1, 32, 32)
    batch = next(iter(DataLoader(data.to_torch(size=32, num_frames=3), batch_size=2)))
    assert batch["masks"].shape == (2, 3, 32, 32)


def test_every_frame_is_given_where_no_number_is(tmp_path):
    data = load_dataset(MAKERS["echonet_dynamic"](tmp_path).root)
    assert len(data.to_torch(num_frames=None)[0]["frames"]) == data[0][0].num_frames


def test_spacing_is_that_of_the_square(tmp_path):
    data = load_dataset(MAKERS["camus"](tmp_path).root)
    clip, _ = data[0]
    item = data.to_torch(size=64, num_frames=1)[0]
    extent_mm = max(clip.size) * clip.spacing_mm[0]
    assert 64 * float(item["spacing_mm"][0]) == pytest.approx(extent_mm)


@pytest.mark.parametrize("kwargs", [{"size": 0}, {"size": float("nan")}, {"num_frames": 0}])
def test_impossible_sizes_are_refused(tmp_path, kwargs):
    data = load_dataset(MAKERS["camus"](tmp_path).root)
    with pytest.raises(ConfigError, match="must be at least"):
        data.to_torch(**kwargs)


def test_the_cache_keeps_the_clips_used_last(tmp_path, monkeypatch):
    data = load_dataset(MAKERS["camus"](tmp_path).root)
    clip = TorchDataset(data.records, size=32).clip(0)
    loads = []
    load = type(data.records[0]).load
    monkeypatch.setattr(
        type(data.records[0]), "load", lambda self: loads.append(self.name) or load(self)
    )
    for max_bytes, num_loads in ((10 * clip.num_bytes, 1), (0, 3)):
        items = TorchDataset(data.records, size=32, cache=ClipCache(max_bytes))
        loads.clear()
        for _ in range(3):
            items.clip(0)
        assert len(loads) == num_loads
        assert items.cache.num_bytes <= max_bytes
