"""State of a run as safetensors: a round trip, and no pickle."""

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from echoseg.train.state_file import read_state, write_state

LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers(0, 9) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(tree=TREES)
def test_values_come_back_with_their_containers(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    write_state(path, tree)
    assert read_state(path) == tree


def test_tensors_come_back_bit_by_bit(tmp_path):
    path = tmp_path / "state.safetensors"
    shared = torch.randn(3, 4)
    state = {
        "float": shared,
        "again": shared,  # shared memory, which safetensors alone refuses
        "transposed": shared.t(),
        "bfloat16": torch.randn(5).bfloat16(),
        "scalar": torch.tensor(3.0),
        "whole": [torch.arange(4), {0: torch.tensor([True, False])}],
    }
    write_state(path, state)
    back = read_state(path)
    for name in ("float", "again", "transposed", "bfloat16", "scalar"):
        assert back[name].dtype == state[name].dtype
        assert torch.equal(back[name], state[name])
    assert torch.equal(back["whole"][0], torch.arange(4))
    assert torch.equal(back["whole"][1][0], torch.tensor([True, False]))


def test_an_optimizer_goes_on_as_if_never_saved(tmp_path):
    def steps(optimizer, weight, number):
        for _ in range(number):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()

    weights = [torch.ones(3, requires_grad=True) for _ in range(2)]
    one, other = (torch.optim.AdamW([weight], lr=0.1) for weight in weights)
    steps(one, weights[0], 5)
    steps(other, weights[1], 2)
    write_state(tmp_path / "s.safetensors", other.state_dict())
    resumed = torch.optim.AdamW([weights[1]], lr=0.5)
    resumed.load_state_dict(read_state(tmp_path / "s.safetensors"))
    steps(resumed, weights[1], 3)
    assert torch.equal(*weights)


class Opens:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def damaged_files():
    yield b""
    yield b"cut off"
    yield bytes(64)
    for tree in ("[" * 100_000, '{"tensor": "nowhere"}', '{"set": []}', "{}", '{"dict": 3}'):
        header = json.dumps({"__metadata__": {"tree": tree}}).encode()
        yield len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("content", list(damaged_files()))
def test_anything_else_is_a_value_error(tmp_path, content):
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or no state"):
        read_state(path)


def test_weights_are_no_state_and_a_pickle_is_not_opened(tmp_path):
    path, victim = tmp_path / "state.safetensors", tmp_path / "victim"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="no state"):
        read_state(path)
    path.write_bytes(pickle.dumps(Opens(victim)))
    with pytest.raises(ValueError, match="no state"):
        read_state(path)
    assert not victim.exists()
