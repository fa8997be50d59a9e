"""EchoNet-Dynamic's recipe for DeepLabV3, small."""

import json

import pytest
import torch
from safetensors.torch import load_file

from animated_makers import write_training_patients
from echoseg.clip import Label, View
from echoseg.errors import ConfigError, DatasetError
from echoseg.models.checkpoint import load_model
from experiments import echonet_recipe
from experiments.echonet_recipe import Recipe, four_labels, train
from experiments.networks.deeplab_v3 import DeepLabV3


@pytest.fixture(scope="module")
def camus(tmp_path_factory):
    """CAMUS with six training patients in two views."""
    root = tmp_path_factory.mktemp("camus")
    write_training_patients(root, 6)
    return root


def small(root, **fields):
    values = {"num_epochs": 3, "clips_per_step": 4, "image_size": 32, "width": 2} | fields
    return Recipe(data=str(root), **values)


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_it_learns_and_goes_on_after_an_interruption_as_if_there_had_been_none(
    camus, tmp_path, monkeypatch
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(camus), whole, report=lambda line: None)
    losses = [line["loss"] for line in lines(whole)]
    assert losses[2] < losses[1] < losses[0]
    epoch = echonet_recipe._epoch

    def interrupted(*args):
        if args[-1] == 2:
            raise KeyboardInterrupt
        return epoch(*args)

    monkeypatch.setattr(echonet_recipe, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(small(camus), cut, report=lambda line: None)
    monkeypatch.undo()
    train(small(camus), cut, report=lambda line: None)
    assert lines(cut) == lines(whole)
    one, other = (load_file(out / "best.safetensors") for out in (cut, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)
    model, card = load_model(str(whole / "best.safetensors"))
    assert card.image_size == 32 and set(card.views) == {View.A4C, View.A2C}
    assert model.num_labels == 4


def test_the_first_step_is_that_of_the_formula(camus):
    """A step written down again: sums over pixels, ED and ES halved, SGD."""
    frames = torch.randint(0, 255, (4, 2, 32, 32), dtype=torch.uint8)
    cavities = torch.rand(4, 2, 32, 32) > 0.7
    torch.manual_seed(0)
    model = DeepLabV3(width=2, num_labels=1)
    twin = DeepLabV3(width=2, num_labels=1)
    twin.load_state_dict(model.state_dict())
    recipe = small(camus)
    sgd = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)
    echonet_recipe._epoch(model, sgd, (frames, cavities), recipe, 0)
    torch.manual_seed(0)
    order = torch.randperm(4)
    twin.train()
    total = torch.zeros(())
    for end in (0, 1):
        logits = echonet_recipe._logits(twin, frames[order, end])
        wanted = cavities[order, end].float()
        losses = wanted * torch.nn.functional.softplus(-logits)
        total = total + (losses + (1 - wanted) * torch.nn.functional.softplus(logits)).sum() / 2
    total.backward()
    for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        moved = other.detach() - 1e-5 * other.grad
        assert torch.allclose(one.detach(), moved, rtol=1e-3, atol=1e-5), name


def test_the_four_labels_are_cavity_where_its_logit_is_over_0():
    torch.manual_seed(1)
    model = DeepLabV3(width=2, num_labels=1).eval()
    frames = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        model.classifier[4].bias -= model.segment(frames).median()
        is_cavity = model.segment(frames)[:, 0] > 0
        labels = four_labels(model).segment(frames).argmax(1)
    assert is_cavity.any() and not is_cavity.all()
    assert torch.equal(labels, is_cavity * int(Label.LV_CAVITY))


def test_other_settings_and_too_few_clips_are_refused(camus, tmp_path):
    train(small(camus, num_epochs=1), tmp_path / "run", report=lambda line: None)
    with pytest.raises(ConfigError, match="was started with"):
        train(small(camus, seed=1), tmp_path / "run")
    with pytest.raises(DatasetError, match="must have 20 clips with masks of ED and ES"):
        train(small(camus, clips_per_step=20), tmp_path / "few")
    assert not (tmp_path / "few").exists()
    with pytest.raises(ConfigError, match="data must be the folder of a data set, got phantom:8"):
        train(small("phantom:8"), tmp_path / "simulated")


def test_what_cannot_be_continued_is_refused(camus, tmp_path):
    train(small(camus, num_epochs=1), tmp_path, report=lambda line: None)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"must hold best\.safetensors after its last"):
        train(small(camus, num_epochs=1), tmp_path)
    resume = tmp_path / "resume.safetensors"
    resume.write_bytes(resume.read_bytes()[:300])
    with pytest.raises(ConfigError, match=r"cannot be continued from .*remove the folder"):
        train(small(camus, num_epochs=1), tmp_path)


def test_a_loss_that_is_no_number_ends_it(camus, tmp_path, monkeypatch):
    monkeypatch.setattr(echonet_recipe, "_epoch", lambda *args: float("nan"))
    with pytest.raises(ConfigError, match="the loss is not a number in epoch 0"):
        train(small(camus), tmp_path / "run")
