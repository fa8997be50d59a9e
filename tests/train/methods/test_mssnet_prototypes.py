import pytest
import torch

from echoseg.train.methods.mssnet_prototypes import Prototypes


def features_and_labels(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (3, 8, 8), generator=generator)
    means = 3 * torch.eye(4)
    noise = 0.3 * torch.randn(3, 4, 8, 8, generator=generator)
    return means[labels].movedim(-1, 1) + noise, labels


def test_learning_draws_pixels_to_their_own_label():
    torch.manual_seed(0)
    features, labels = features_and_labels()
    features = 0.2 * features + torch.randn(1, 4, 1, 1)  # labels lie close together at first
    prototypes = Prototypes(4, 4, width=8)
    optimizer = torch.optim.Adam(prototypes.parameters(), 0.02)
    losses = []
    for _ in range(60):
        loss = prototypes(features, labels, torch.ones(3, 8, 8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    apart = prototypes.vectors @ prototypes.vectors.T - 2 * torch.eye(4)
    assert apart.max() < 0.7


def test_pixels_that_are_not_accepted_change_nothing():
    features, labels = features_and_labels()
    weights = torch.zeros(3, 8, 8)
    weights[:, :4] = 1
    changed = features.clone()
    changed[:, :, 4:] = torch.randn(3, 4, 4, 8)
    torch.manual_seed(1)
    one = Prototypes(4, 4)
    other = Prototypes(4, 4)
    other.load_state_dict(one.state_dict())
    losses = one(features, labels, weights), other(changed, labels, weights)
    assert losses[0].item() == pytest.approx(losses[1].item())
    assert torch.allclose(one.vectors, other.vectors)


def test_a_label_that_never_came_has_no_prototype_and_no_pull():
    features, labels = features_and_labels()
    labels = labels.clamp(max=2)
    prototypes = Prototypes(4, 4)
    loss = prototypes(features, labels, torch.ones(3, 8, 8))
    assert torch.isfinite(loss)
    assert prototypes.is_known.tolist() == [True, True, True, False]
    assert prototypes.vectors[3].abs().max() == 0


def test_prototypes_have_unit_length_and_follow_slowly():
    features, labels = features_and_labels()
    prototypes = Prototypes(4, 4, decay=0.9)
    prototypes(features, labels, torch.ones(3, 8, 8))
    before = prototypes.vectors.clone()
    prototypes(-features, labels, torch.ones(3, 8, 8))
    assert torch.allclose(prototypes.vectors.norm(dim=1), torch.ones(4), atol=1e-5)
    assert ((prototypes.vectors * before).sum(1) > 0.9).all()
