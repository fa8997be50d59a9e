import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import echoseg
from dataset_makers import MAKERS
from echoseg.cli import app
from echoseg.cli.train import _config, as_settings
from echoseg.data import load_dataset
from echoseg.errors import ConfigError, EchosegError
from echoseg.models.checkpoint import load_model
from echoseg.models.mssnet import MSSNet
from echoseg.train import recipes
from echoseg.train.config import train_config
from echoseg.train.methods import TrainingMethod
from echoseg.train.train import _as_config, _method_object, _model_object, run_training

SMALL = {
    "image_size": 64,
    "num_steps": 2,
    "num_labeled": 2,
    "num_unlabeled": 1,
    "accelerator": "cpu",
}
PLUGIN = """
import torch
from torch import nn
from echoseg.train.config import train_config
from echoseg.train.methods import TrainingMethod

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 4, 1))
        self.config = {"width": width}

    def forward(self, frames):
        return self.layers(frames)

class Method(TrainingMethod):
    uses_unlabeled = False

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, student, teacher, batch, ramp):
        return {"supervised": self.scale * self.supervised_loss(student(batch.strong), batch)}

def loss(logits, masks):
    return nn.functional.cross_entropy(logits, masks, ignore_index=255)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Another package with a network, a method and a loss."""
    (tmp_path / "another_lab.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("another_lab")
    sys.modules.pop("another_lab", None)


def test_objects_are_trained_and_loaded_again(tmp_path, plugin, capsys):
    data = load_dataset(MAKERS["custom"](tmp_path / "own").root)
    net = plugin.Net(width=5)
    before = net.layers[0].weight.detach().clone()
    result = echoseg.train(
        net, data, plugin.Method(scale=2.0), plugin.loss, output=tmp_path / "run", **SMALL
    )
    assert not torch.equal(net.layers[0].weight, before)
    assert result.card.architecture == "another_lab:Net"
    assert result.card.licence == "as the data's owner allows"
    assert [line["step"] for line in result.history] == [2]
    loaded, _ = load_model(str(result.checkpoint))
    assert loaded.network.layers[0].out_channels == 5
    frames = torch.rand(1, 2, 1, 64, 64)
    assert torch.equal(loaded(frames), result.model(frames))
    assert repr(result).startswith("TrainingResult(")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "opening the data" and last.startswith("2/2  loss ")


def test_names_of_another_package_do_the_same(tmp_path, plugin, capsys):
    names = [f"another_lab:{name}" for name in ("Net", "Method", "loss")]
    result = echoseg.train(
        names[0], "phantom:4", *names[1:], method_options={"scale": 3.0}, progress=None, **SMALL
    )
    assert not capsys.readouterr().out
    assert result.card.architecture == names[0]
    config = (result.folder / "run.json").read_text()
    assert all(f'"{name}"' in config for name in names)


SLOW_START = """
import json, sys, time
from echoseg.train.config import train_config
from echoseg.train.run_folder import RunFolder
from echoseg.train.train import run_training
begin = RunFolder.begin
def late(*arguments, **more):
    time.sleep(4.0)  # the other process goes on meanwhile
    begin(*arguments, **more)
RunFolder.begin = late
run_training(train_config(**json.loads(sys.argv[1])), sys.argv[2])
"""


@pytest.mark.slow
def test_two_processes_begin_one_run_whichever_is_first(tmp_path):
    (tmp_path / "train.py").write_text(SLOW_START)
    settings = SMALL | {"data": "phantom:4", "architecture": {"size": "tiny"}, "image_size": 32}
    launch = "-m torch.distributed.run --nproc-per-node 2 --master-port 29512".split()
    arguments = [str(tmp_path / "train.py"), json.dumps(settings), str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, *launch, *arguments],
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1  # of one process


def test_torch_data_sets_and_lists_are_taken(tmp_path):
    data = load_dataset(MAKERS["custom"](tmp_path / "own").root)
    items = data.to_torch(size=32, num_frames=None)
    settings = {**SMALL, "image_size": 32, "architecture": {"size": "tiny"}}
    result = echoseg.train(
        "mssnet", [items, "phantom:2", [items[0]]], "supervised", validation=data, **settings
    )
    assert "validation_score" in result.history[-1]
    assert result.checkpoint.name == "best.safetensors"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, "phantom:2"), "model must be a torch.nn.Module or a name, got int"),
        (("mssnet", 3), "data must be a path"),
        (("mssnet", "phantom:2", 3), "method must be a TrainingMethod or a name"),
        (("mssnet", "phantom:2", "supervised", 3), "loss must be a function or a name"),
    ],
)
def test_wrong_types_are_a_type_error(arguments, message):
    with pytest.raises(TypeError, match=message):
        echoseg.train(*arguments, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("no_net", "phantom:2"), {}, "model must be one of"),
        (("mssnet", "nowhere"), {}, "is not there"),
        (("mssnet", "phantom:2", "no_method"), {}, "method must be one of"),
        (("mssnet", "phantom:2", "os:path"), {}, "derived from TrainingMethod"),
        (("mssnet", "phantom:2", "supervised", "os:nothing"), {}, "os has no nothing"),
        (("mssnet", "phantom:2"), {"num_stepz": 2}, "did you mean num_steps"),
        ((nn.Linear(2, 2), "phantom:2"), {}, "forward must give logits"),
    ],
)
def test_wrong_values_are_an_echoseg_error(tmp_path, arguments, settings, message):
    out = tmp_path / "run"
    with pytest.raises(EchosegError, match=message):
        echoseg.train(*arguments, output=out, **SMALL, **settings)
    assert not (out / "run.json").exists()


@pytest.mark.parametrize(
    "setting",
    [{"init_from": "camus"}, {"pretrained_encoder": "camus"}, {"architecture": {"size": "base"}}],
)
def test_settings_that_a_network_of_ones_own_makes_void_are_refused(tmp_path, setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"{name} must be left out where model is a network, .*"):
        echoseg.train(MSSNet(size="tiny"), "phantom:2", output=tmp_path / "run", **SMALL, **setting)
    assert not (tmp_path / "run").exists()
    unset = dict.fromkeys(setting)
    _model_object(MSSNet(size="tiny"), unset)  # None is as good as left out


def test_a_network_that_could_not_be_loaded_again_is_refused_before_training(tmp_path, plugin):
    wide = plugin.Net(width=5)
    wide.config = None
    for net in (wide, nn.Sequential(nn.Conv2d(1, 4, 1))):
        random_state = torch.random.get_rng_state()
        with pytest.raises(EchosegError, match=r"set its attribute config to a dict"):
            echoseg.train(net, "phantom:2", output=tmp_path / "run", **SMALL)
        assert torch.equal(torch.random.get_rng_state(), random_state)
    assert not (tmp_path / "run").exists()


def test_a_custom_method_must_have_forward():
    class NoForward(TrainingMethod):
        pass

    with pytest.raises((ConfigError, TypeError)):
        echoseg.train("mssnet", "phantom:2", NoForward, **SMALL)


@pytest.mark.parametrize(
    "lines",
    [
        "import echoseg; train = echoseg.train; from echoseg.train import loop",
        "from echoseg.train import loop; import echoseg; train = echoseg.train",
        "import echoseg.train.train; import echoseg; train = echoseg.train",
        "from echoseg import train; import echoseg.train.loop as loop",
    ],
)
def test_the_package_is_the_function_in_any_order(lines):
    code = (
        f"{lines}\n"
        "import echoseg.train.loop\n"
        "assert echoseg.train.loop.fit\n"
        "try: train(3, 3)\n"
        "except TypeError as error: assert 'model must be' in str(error)\n"
        "else: raise SystemExit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_help_shows_the_functions_arguments():
    assert list(inspect.signature(echoseg.train).parameters)[:4] == [
        "model", "data", "method", "loss"
    ]  # fmt: skip


def test_recipes_and_percentages_are_taken_as_on_the_command_line(plugin, tmp_path):
    result = echoseg.train(
        plugin.Net(),
        "phantom:4",
        "rac_only",
        output=tmp_path / "run",
        labeled_fraction="50%",
        **SMALL,
    )
    config = json.loads((result.folder / "run.json").read_text())
    assert config["method"] == "mssnet"
    assert config["method_options"] == {"doc": False}
    assert config["labeled_fraction"] == 0.5


CUT = SMALL | {"image_size": 32, "num_steps": 4, "save_every": 2, "keep_last": 9}


def cut(folder: Path, copy: Path) -> Path:
    """A copy of a finished run of four steps as it was after two."""
    shutil.copytree(folder, copy)
    for name in ("resume-000004.safetensors", "model.safetensors"):
        (copy / name).unlink()
    return copy


def same_weights(one: Path, other: Path) -> bool:
    both = [load_file(path / "model.safetensors") for path in (one, other)]
    return all(torch.equal(both[0][name], both[1][name]) for name in both[0] | both[1])


def test_a_run_of_a_network_object_resumes_with_that_network(tmp_path):
    net = MSSNet(size="nano", memory="guidance")  # the weights of its default have these shapes
    result = echoseg.train(net, "phantom:2", "supervised", output=tmp_path / "run", **CUT)
    fields = json.loads((result.folder / "run.json").read_text())
    assert (fields["architecture"]["memory"], fields["objects"]) == ("guidance", [])
    folder = cut(result.folder, tmp_path / "cut")
    resumed, _ = load_model(str(run_training(None, folder)))
    assert resumed.config.memory == "guidance"
    assert same_weights(folder, result.folder)


def test_a_run_of_objects_resumes_with_the_same_objects_only(tmp_path, plugin):
    call = {"model": "mssnet", "data": "phantom:2", "method": "supervised", "loss": plugin.loss}
    call |= {"architecture": {"size": "nano"}, **CUT}
    whole = echoseg.train(**call, output=tmp_path / "run").folder
    folder = cut(whole, tmp_path / "cut")
    files = sorted(folder.iterdir())
    done = CliRunner().invoke(app, ["train", "--resume", str(folder)])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "was begun with Python objects (loss), which only Python can give again" in done.stderr
    for change in ({"loss": None}, {"loss": "another_lab:loss"}, {"learning_rate": 0.1}):
        with pytest.raises(
            ConfigError, match=f"was started with ({'|'.join([*change, 'objects'])})="
        ):
            echoseg.train(**call | change, output=folder, resume=True)
    assert sorted(folder.iterdir()) == files
    result = echoseg.train(**call, output=folder, resume=True)
    assert [line["step"] for line in result.history] == [4]
    assert same_weights(folder, whole)
    with pytest.raises(ConfigError, match=r"must hold a run \(run.json\) to be resumed"):
        echoseg.train(**call, output=tmp_path / "none", resume=True)
    with pytest.raises(ConfigError, match="output must be given with resume=True"):
        echoseg.train(**call, resume=True)
    assert not (tmp_path / "none").exists()


def test_parts_of_a_run_that_are_objects_are_recorded(tmp_path, plugin):
    data = load_dataset(MAKERS["custom"](tmp_path).root)
    frozen = MSSNet(size="nano")
    frozen.stem.requires_grad_(False)
    given = {"validation": data}
    for arguments, settings, objects in (
        (("mssnet", ["phantom:2"], "mssnet", "another_lab:loss"), {}, ()),
        ((MSSNet(size="nano"), "phantom:2", "mssnet", None), {}, ()),
        ((frozen, "phantom:2", "mssnet", None), {}, ("model",)),
        ((plugin.Net(), "phantom:2", plugin.Method, None), {}, ("model", "method")),
        (("mssnet", ["phantom:2", data], "mssnet", None), given, ("data", "validation")),
    ):
        assert _as_config(*arguments, settings)[0]["objects"] == objects


@pytest.mark.parametrize(
    ("name", "rac", "doc"), [("doc_only", False, True), ("rac_doc", True, True)]
)
def test_an_option_of_a_method_changes_no_other_of_its_recipe(name, rac, doc):
    in_python = {"method_options": {"weight": 0.5}}
    _method_object(name, in_python)
    on_the_command_line = _config(name, as_settings(["method_options.weight=0.5"]), None)
    for config in (
        recipes.make(name, method_options={"weight": 0.5}),
        on_the_command_line,
        train_config(**in_python),
    ):
        method = config.make_method()
        assert (method.rac, method.doc, method.weight) == (rac, doc, 0.5)
    assert recipes.make(name, method_options={"doc": False}).make_method().doc is False
    assert recipes.make(name).make_method().weight == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": []}, "data must hold at least one data set"),
        ({"loss": "nosuch"}, "loss must be package.module:Name, got 'nosuch'"),
        ({"loss": lambda logits, masks: logits.detach().mean()}, "loss must return .* a gradient"),
        ({"loss": lambda logits, masks: logits}, r"scalar tensor, got \(\d+, 4"),
        ({"model": "cammus"}, r"model must be one of .*got 'cammus'; .*camus, camus-nano, phantom"),
        ({"device": "cpu"}, "did you mean accelerator"),
        ({"labeled_fraction": "few"}, "must be a fraction such as 5%"),
    ],
)
def test_a_failed_run_says_why_and_leaves_no_folder(
    plugin, tmp_path, monkeypatch, settings, message
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fields = {"model": plugin.Net(), "data": "phantom:2", "method": "supervised", **SMALL}
    with pytest.raises(ConfigError, match=message):
        echoseg.train(**fields | settings)
    assert not any((tmp_path / "temporary").iterdir())


def test_trained_weights_as_a_network_are_refused():
    with pytest.raises(ConfigError, match=r"weights \(camus, .* are given as init_from"):
        train_config(model="camus")
