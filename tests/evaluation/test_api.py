"""`echoseg.evaluate`: a name, a path or a network over a data set."""

import pytest

import echoseg
from dataset_makers import make_camus


@pytest.fixture(scope="module")
def camus(tmp_path_factory):
    return make_camus(tmp_path_factory.mktemp("camus")).root


def test_a_network_is_evaluated_without_a_checkpoint(camus, tmp_path):
    network = echoseg.models.MSSNet(size="tiny")
    data = echoseg.load_dataset(camus)
    split = next(iter(data.splits()))
    result = echoseg.evaluate(network, data, split=split, image_size=64)
    assert result.model == "MSSNet"
    assert result.summary["counts"]["clips"] == len(data.split(split))
    assert {(item.clip, item.structure) for item in result.items}
    assert repr(result).startswith("Evaluation('MSSNet'") and "\n" not in repr(result)
    folder = result.save(tmp_path / "out")
    assert {"summary.json", "report.html", "items.csv"} <= {p.name for p in folder.iterdir()}


def test_bad_arguments_are_refused(camus):
    with pytest.raises(TypeError, match="a model name, a path or a network"):
        echoseg.evaluate(3, camus)
    with pytest.raises(TypeError):
        echoseg.evaluate("camus", 3)
    with pytest.raises(echoseg.EchosegError, match="no split"):
        echoseg.evaluate("camus", camus, split="nonsense")
    with pytest.raises(echoseg.EchosegError, match="camus, camus-nano, phantom"):
        echoseg.evaluate("nonsense", camus, split=None)
