"""DeepLabV3 of EchoNet-Dynamic: names and shapes of its checkpoint, read in safety."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from echoseg.errors import ModelError
from experiments.networks.deeplab_v3 import (
    DeepLabV3,
    DeepLabV3Config,
    from_published,
    load_published,
)


def norm(name, width):
    shapes = {f"{name}.{part}": (width,) for part in ("weight", "bias")}
    shapes |= {f"{name}.running_{part}": (width,) for part in ("mean", "var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def published_shapes(labels=1):
    """Names and shapes as torchvision's deeplabv3_resnet50 saves them, written down again."""
    shapes = {"backbone.conv1.weight": (64, 3, 7, 7), **norm("backbone.bn1", 64)}
    wide = 64
    for stage, depth in enumerate((3, 4, 6, 3), 1):
        narrow = 64 * 2 ** (stage - 1)
        for index in range(depth):
            block = f"backbone.layer{stage}.{index}"
            shapes[f"{block}.conv1.weight"] = (narrow, wide, 1, 1)
            shapes[f"{block}.conv2.weight"] = (narrow, narrow, 3, 3)
            shapes[f"{block}.conv3.weight"] = (4 * narrow, narrow, 1, 1)
            shapes |= norm(f"{block}.bn1", narrow) | norm(f"{block}.bn2", narrow)
            shapes |= norm(f"{block}.bn3", 4 * narrow)
            if index == 0:
                shapes[f"{block}.downsample.0.weight"] = (4 * narrow, wide, 1, 1)
                shapes |= norm(f"{block}.downsample.1", 4 * narrow)
            wide = 4 * narrow
    convs = "classifier.0.convs"
    for index, place, size in ((0, 0, 1), (1, 0, 3), (2, 0, 3), (3, 0, 3), (4, 1, 1)):
        shapes[f"{convs}.{index}.{place}.weight"] = (256, 2048, size, size)
        shapes |= norm(f"{convs}.{index}.{place + 1}", 256)
    shapes["classifier.0.project.0.weight"] = (256, 1280, 1, 1)
    shapes |= norm("classifier.0.project.1", 256)
    shapes["classifier.1.weight"] = (256, 256, 3, 3)
    shapes |= norm("classifier.2", 256)
    return shapes | {"classifier.4.weight": (labels, 256, 1, 1), "classifier.4.bias": (labels,)}


def made_up(labels=1, prefix="module."):
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in published_shapes(labels).items():
        scale = max(1, np.prod(shape[1:])) ** -0.5
        drawn = scale * torch.randn(shape, generator=generator)
        weights[prefix + name] = drawn.abs() + 0.5 if "var" in name else drawn
        if not shape:
            weights[prefix + name] = torch.tensor(7)
    return weights


def test_a_checkpoint_with_the_published_names_and_shapes_is_read(tmp_path):
    weights = made_up()
    # as their code saves it: losses may be numpy's numbers
    saved = {"epoch": 45, "best_loss": np.float64(0.1), "loss": np.float32(0.2), "opt_dict": {}}
    torch.save({**saved, "state_dict": weights}, tmp_path / "published.pt")
    model = load_published(tmp_path / "published.pt").eval()
    assert model.num_labels == 1
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[f"module.{name}"]), name
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 1, 32, 32)).isfinite().all()


def test_it_has_as_many_parameters_as_published():
    counted = sum(
        np.prod(shape, dtype=int)
        for name, shape in published_shapes().items()
        if "running" not in name and "num_batches" not in name
    )
    model = DeepLabV3(DeepLabV3Config(num_labels=1))
    assert sum(p.numel() for p in model.parameters()) == counted == 39_633_729


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("content", ["harmful", "no pickle", "no weights", "missing"])
def test_other_files_are_refused_and_nothing_in_them_runs(tmp_path, content, capsys):
    path = tmp_path / "published.pt"
    if content == "harmful":
        torch.save({"state_dict": {}, "loss": Harmful()}, path)
        with pytest.raises(ModelError):
            load_published(path)
        path.write_bytes(pickle.dumps(Harmful()))
    elif content == "no pickle":
        path.write_bytes(b"\x00\x01 not a file of torch")
    elif content == "no weights":
        torch.save([1, 2], path)
    with pytest.raises(ModelError, match="weights of EchoNet-Dynamic must"):
        load_published(path)
    assert "must not run" not in capsys.readouterr().out


def test_weights_of_another_network_are_refused_by_name():
    weights = made_up(labels=3, prefix="")
    assert from_published(weights).num_labels == 3
    assert from_published({**weights, "aux_classifier.0.weight": torch.zeros(1)}).num_labels == 3
    with pytest.raises(ModelError, match=r"'extra' is unknown"):
        from_published({**weights, "extra": torch.zeros(1)})
    with pytest.raises(ModelError, match="must have the shapes of DeepLabV3-ResNet50"):
        from_published({**weights, "classifier.1.weight": torch.zeros(1)})
    del weights["backbone.bn1.bias"]
    with pytest.raises(ModelError, match=r"'backbone\.bn1\.bias' is missing"):
        from_published(weights)


def test_the_map_keeps_stride_eight():
    model = DeepLabV3(DeepLabV3Config(width=2)).eval()
    with torch.inference_mode():
        assert model.backbone(torch.rand(1, 3, 64, 48)).shape == (1, 64, 8, 6)


def test_a_damaged_file_is_refused_in_one_sentence_without_unsafe_advice(tmp_path):
    path = tmp_path / "published.pt"
    content = pickle.dumps({"state_dict": {"module.x": list(range(500))}})
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    for data in (content[: len(content) // 2], b"", (tmp_path / "x.safetensors").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"^weights of EchoNet-Dynamic must") as told:
            load_published(path)
        assert "torch.load" not in str(told.value) and "weights_only" not in str(told.value)
    with pytest.raises(ModelError, match="a file that can be read"):
        load_published(tmp_path / "nowhere.pt")
    (tmp_path / "x.safetensors").rename(tmp_path / "y.safetensors")
    with pytest.raises(ModelError, match="weights of EchoNet-Dynamic must"):
        load_published(tmp_path / "y.safetensors")


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({1.5: torch.zeros(1)}, "must be tensors by their names, 1.5"),
        ({"module.backbone.conv1.weight": 3}, "is int"),
        ({"classifier.4.bias": torch.zeros(64)}, "must have 1 to 32 labels, got 64"),
        ({"classifier.4.bias": torch.zeros(0)}, "got 0"),
    ],
)
def test_weights_that_are_none_are_refused_in_one_sentence(weights, told):
    with pytest.raises(ModelError, match=told):
        from_published(weights)
