import pytest
import torch

from echoseg.errors import ConfigError
from echoseg.models.checkpoint import save_checkpoint
from echoseg.models.mssnet import MSSNet
from echoseg.train.card import make_card
from echoseg.train.config import train_config
from echoseg.train.loop import Components, Run
from echoseg.train.train import make_fabric
from echoseg.weights.card import ModelCard
from experiments.distillation import Distilled
from experiments.pruning import prune
from train.makers import disk_set

OPTIONS = {
    "method": "experiments.distillation:Distilled",
    "image_size": 32,
    "num_labeled": 4,
    "accelerator": "cpu",
    "num_steps": 60,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a tiny network that has learned disks."""
    fields = {"method": "supervised", "num_steps": 120, "learning_rate": 4e-3}
    config = train_config(**OPTIONS | fields, architecture={"size": "tiny"})
    run = Run(config, disk_set(16), make_fabric(config))
    for _ in range(config.num_steps):
        run.take_step()
    path = tmp_path_factory.mktemp("trained") / "tiny.safetensors"
    card = ModelCard(
        architecture="mssnet", image_size=32, licence="CC-BY-NC-SA-4.0", trained_on="disks"
    )
    save_checkpoint(path, run.module.student.eval(), card)
    return str(path)


def run_of(trained: str, **fields) -> Run:
    config = train_config(
        **OPTIONS
        | {"architecture": {"size": "nano"}, "method_options": {"trained": trained}}
        | fields
    )
    return Run(config, disk_set(16), make_fabric(config))


def test_a_network_pruned_to_its_own_size_is_the_network():
    torch.manual_seed(0)
    network, other = MSSNet(size="tiny").eval(), MSSNet(size="tiny").eval()
    clip = torch.rand(1, 3, 1, 32, 32)
    assert not torch.allclose(network(clip), other(clip))
    prune(network, other, disk_set(4))
    assert torch.equal(network(clip), other(clip))


def test_channels_that_do_nothing_are_dropped_first():
    torch.manual_seed(0)
    network = MSSNet(size="tiny").eval()
    dead = torch.tensor([0, 3, 4, 7, 8, 11, 14, 15])
    with torch.no_grad():  # no place of the stream at stride 2 gives anything else than 0
        for norm in (network.stem[1], network.encoder0.body[4]):
            norm.weight[dead] = 0
            norm.bias[dead] = 0
    before = {name: value.clone() for name, value in network.state_dict().items()}
    student = MSSNet(size="nano")
    prune(network, student, disk_set(8))
    alive = torch.tensor([i for i in range(16) if i not in dead])
    assert torch.equal(student.stem[0].weight, network.stem[0].weight[alive])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_heads_of_the_scan_stay_whole():
    torch.manual_seed(0)
    network, student = MSSNet(size="small").eval(), MSSNet(size="nano")
    prune(network, student, disk_set(4))
    (wide, narrow) = (each.encoder3[1].mixer for each in (network, student))
    decays = wide.scan.log_a.view(4, 6)  # directions, heads
    heads = [int((decays[0] == value).nonzero()) for value in narrow.scan.log_a.view(4, 4)[0]]
    assert torch.equal(narrow.scan.log_a.view(4, 4), decays[:, heads])
    channels = torch.cat([torch.arange(32 * head, 32 * head + 32) for head in heads])
    assert torch.equal(narrow.norm.weight, wide.norm.weight[channels])
    convolved = torch.cat([channels, torch.arange(192, 192 + 128)])
    assert torch.equal(narrow.conv.bias, wide.conv.bias[convolved])


def test_a_student_comes_closer_to_the_trained_network(trained):
    run = run_of(trained)
    terms = [run.take_step() for _ in range(60)]
    first, last = (sum(each["divergence"] for each in part) for part in (terms[:5], terms[-5:]))
    assert last < 0.5 * first
    names = run.state_dict()["module"]
    assert not any("trained" in name for name in names)  # of the student alone


def test_distilling_a_network_into_itself_has_no_divergence(trained):
    run = run_of(trained, init_from=trained, architecture={})
    student = run.module.student.eval()
    batch = run.batches[0]
    with torch.no_grad():
        terms = run.module.method(student, run.teacher, batch, 1.0)
    assert float(terms["divergence"]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"size": "small"}, "size must be smaller than 'tiny', got 'small'"),
        ({"size": "nano", "memory": "none"}, "but for its size .*set pruned to false"),
    ],
)
def test_a_network_that_it_cannot_be_pruned_to_is_refused(trained, architecture, message):
    with pytest.raises(ConfigError, match=message):
        run_of(trained, architecture=architecture)


def test_another_network_begins_with_random_weights(trained):
    with pytest.raises(ConfigError, match="pruned must be false for MSSNet and UNet"):
        run_of(trained, model="unet", architecture={})
    options = {"trained": trained, "pruned": False}
    run = run_of(trained, model="unet", architecture={}, method_options=options)
    assert run.take_step()["divergence"] > 0


def test_the_terms_of_the_trained_network_go_on_the_card(trained):
    run = run_of(trained)
    card = make_card(run.config, [], run.module)
    assert (card.licence, card.trained_on) == ("CC-BY-NC-SA-4.0", "disks")
    assert card.architecture == "mssnet"


def test_wrong_options_are_refused(trained):
    with pytest.raises(ConfigError, match="divergence_weight must be positive, got 0"):
        Distilled(trained=trained, divergence_weight=0)
    four = train_config(**OPTIONS | {"method_options": {"trained": trained}})
    labels = Components(model=MSSNet(size="nano", num_labels=5))
    with pytest.raises(ConfigError, match="must have 4 labels"):
        Run(four, disk_set(8), make_fabric(four), labels)
