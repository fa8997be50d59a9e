import pytest
import torch
from torch.nn import functional

from experiments.networks.triples import (
    ChannelNorm,
    NeighbourAttention,
    ResidualMLP,
    TripleAttention,
    guided_attention,
    guided_attention_fused,
)
from gradients import assert_same


def leaves(num_tokens, dtype=torch.float64):
    shape = (2, 4, 3 * num_tokens, 5)
    return [(2 * torch.randn(shape, dtype=dtype)).requires_grad_() for _ in range(3)]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.3])
@pytest.mark.parametrize("num_tokens", [1, 7, 16])
def test_logits_carried_along_are_queries_summed(alpha, num_tokens):
    def whole(form):
        return lambda *tensors: (form(*tensors, alpha), torch.zeros((), requires_grad=True))

    assert_same(whole(guided_attention_fused), whole(guided_attention), leaves(num_tokens))


def test_without_guidance_it_is_attention():
    query, key, value = leaves(4)
    expected = functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(guided_attention(query, key, value, 0.0), expected)


def test_guidance_goes_forward_in_the_triple_place_by_place():
    """A first frame's query changes its place in all three frames, a third's only its own."""
    query, key, value = leaves(4)
    for asked, changed in ((1, {1, 5, 9}), (6, {6, 10}), (11, {11})):
        other = query.detach().clone()
        other[:, :, asked] += 1
        difference = guided_attention(other, key, value, 0.5) - guided_attention(
            query, key, value, 0.5
        )
        assert set(difference.abs().amax((0, 1, 3)).nonzero().flatten().tolist()) == changed


def test_the_weights_grow_sharper_along_a_still_triple():
    """Three equal frames: logits are 1, 1.5 and 1.75 times the frame's own."""
    query, key, value = (leaf.detach()[:, :, :4] for leaf in leaves(4))
    still = [torch.cat([part] * 3, 2) for part in (query, key, value)]
    found = guided_attention(*still, 0.5).chunk(3, 2)
    for part, times in zip(found, (1, 1.5, 1.75), strict=True):
        assert torch.allclose(
            part, functional.scaled_dot_product_attention(times * query, key, value)
        )


@pytest.mark.parametrize("fused", [False, True])
def test_the_layer_of_triples_is_its_sentence(fused):
    layer = TripleAttention(8, 2, 0.5, fused=fused)
    x = torch.randn(2, 12, 8)
    projected = layer.query_key_value(layer.norm(x))
    parts = [part.unflatten(2, (2, 4)).transpose(1, 2) for part in projected.split(8, -1)]
    attended = x + guided_attention(*parts, 0.5).transpose(1, 2).flatten(2)
    assert torch.allclose(layer(x), layer.mix(attended), atol=1e-6)


def test_the_middle_asks_its_neighbours():
    layer = NeighbourAttention(6)
    vectors = torch.randn(5, 6)
    found = layer(vectors)
    for middle in (1, 2, 3):
        beside = vectors[[middle - 1, middle + 1]]
        key, value = layer.key_value(beside).split(6, -1)
        weights = torch.softmax(key @ layer.query(vectors[middle]) / 6**0.5, 0)
        expected = layer.mix(vectors[middle] + weights @ value)
        assert torch.allclose(found[middle - 1], expected, atol=1e-6)


def test_the_norms_see_one_place_each():
    x = torch.randn(2, 8, 3, 5)
    found = ChannelNorm(8)(x)
    assert found.mean(1).abs().max() < 1e-6
    assert torch.allclose(found.var(1, correction=0), torch.ones(()), atol=1e-4)
    mlp, tokens = ResidualMLP(8), torch.randn(4, 8)
    assert torch.allclose(mlp(tokens)[0], mlp(tokens[0]), atol=1e-6)
