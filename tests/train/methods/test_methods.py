from dataclasses import replace

import pytest
import torch

from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL, cross_entropy_dice_loss
from echoseg.models import UNet
from echoseg.models.mssnet import MSSNet, MSSNetConfig
from echoseg.train.data.batches import Batches
from echoseg.train.data.training_set import joined
from echoseg.train.ema import EMA
from echoseg.train.methods import METHODS
from echoseg.train.methods.base import ramp_up
from echoseg.train.methods.bcp import BidirectionalCopyPaste, largest_pieces
from echoseg.train.methods.mssnet import MSSNetMethod, confidence, labeled_sample
from echoseg.train.methods.supervised import Supervised
from experiments.networks.gdkvm import GDKVM, GDKVMConfig
from experiments.networks.msv_mamba import MSVMamba, MSVMambaConfig
from experiments.networks.unet_3d import UNet3D
from train.makers import disk_clip, disk_set, set_of, small_config

DATA = disk_set(12, num_labeled=4)


def student() -> MSSNet:
    torch.manual_seed(0)
    return MSSNet(MSSNetConfig(size="tiny")).train()


def batch(num_unlabeled: int = 3):
    return Batches(DATA, small_config(), 3, num_unlabeled, with_sources=True)[0]


def minimised(terms):
    return sum(value for name, value in terms.items() if not name.startswith("metrics/"))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_objective_gives_finite_terms_and_gradients(name):
    network = student()
    method = METHODS[name]()
    method.prepare(network, DATA)
    terms = method(network, EMA(network), batch(3 if method.uses_unlabeled else 0), 0.7)
    loss = minimised(terms)
    loss.backward()
    assert loss.requires_grad
    assert loss.isfinite()
    own = [*network.parameters(), *method.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in own)


def test_supervision_reaches_every_level_that_a_network_draws():
    torch.manual_seed(0)
    network = MSVMamba(MSVMambaConfig(widths=(4, 8, 8, 16), windows=(2, 4), fused_width=8)).train()
    given = batch(0)
    found = {}
    for levels in (True, False):
        (found[levels],) = Supervised(deep_supervision=levels)(
            network, EMA(network), given, 1.0
        ).values()
    answer, *others = (
        cross_entropy_dice_loss(each, given.masks.flatten(0, 1))
        for each in network.level_logits(given.strong.flatten(0, 1))
    )
    assert found[False].item() == pytest.approx(answer.item(), rel=1e-5)
    assert found[True].item() == pytest.approx(
        (answer + 0.4 * torch.stack(others).mean()).item(), rel=1e-5
    )


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"supervised", "bcp"}))
def test_hidden_truth_reaches_no_loss(name):
    found = []
    for truth in (batch().all_masks, torch.full_like(batch().all_masks, IGNORE_LABEL)):
        network = student()
        method = METHODS[name]()
        method.prepare(network, DATA)
        teacher = EMA(network)
        torch.manual_seed(5)
        found.append(minimised(method(network, teacher, batch()._replace(all_masks=truth), 1.0)))
    assert found[0].item() == found[1].item()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"supervised"}))
def test_every_method_learns_from_long_clips_without_any_mask_of_the_target(name):
    """Twelve frames, masks of other data only, artefacts, and a network with carry gates."""
    own = replace(disk_set(4, num_frames=12).labeled_fraction(0), patients=tuple("abcd"))
    other = disk_set(4, num_frames=12)
    data = joined([own, replace(other, is_target=torch.zeros(4, dtype=torch.bool))])
    given = Batches(data, small_config(num_frames=12, artefact_prob=1.0), 2, 2, with_sources=True)[
        0
    ]
    network = MSSNet(MSSNetConfig(size="tiny", memory="features")).train()
    method = METHODS[name]()
    method.prepare(network, data)
    terms = method(network, EMA(network), given, 0.7)
    assert given.hidden.max() > 0.5
    assert ("carry" in terms) == hasattr(network, "carry_logits")
    minimised(terms).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"supervised"}))
def test_the_teacher_is_never_differentiated(name):
    network = student()
    method = METHODS[name]()
    method.prepare(network, DATA)
    teacher = EMA(network)
    minimised(method(network, teacher, batch(), 1.0)).backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_without_trust_nothing_but_what_experts_drew_counts():
    network, method = student(), MSSNetMethod(rac=False)
    method.prepare(network, DATA)
    terms = method(network, EMA(network), batch(), 0.0)
    assert terms["mixed"].item() == 0


def test_without_trust_an_unlabelled_clip_is_the_background_of_a_labelled_heart():
    network, method, seen = student(), MSSNetMethod(), batch()
    method.prepare(network, DATA)
    drawn = labeled_sample(seen.sources)
    unlabeled, _ = method._targets(seen, EMA(network)(seen.weak[seen.num_labeled :]), 0.0)
    mixed = method._mixed(unlabeled, drawn, 0.0)
    assert unlabeled.weights.max() == 0
    counted = mixed.weights > 0.99
    assert counted.any()
    assert mixed.probs.amax(2)[counted].min() > 0.9  # as sure as an expert's mask


def test_rac_and_doc_can_each_be_left_out():
    for rac, doc in ((True, False), (False, True), (False, False)):
        network, method = student(), MSSNetMethod(rac=rac, doc=doc)
        method.prepare(network, DATA)
        terms = method(network, EMA(network), batch(), 1.0)
        assert terms["mixed"].isfinite()
        assert (method.shapes is not None) == doc
        assert (terms["metrics/reliability"] < 1) == doc
        assert not method.state_dict()  # nothing to resume


GDKVM_SMALL = GDKVMConfig(widths=(4, 8, 8, 16), value_widths=(4, 4, 8, 8), num_heads=1)


@pytest.mark.parametrize(
    "network",
    [
        UNet(widths=(4, 4, 8, 8, 8)),
        UNet3D(widths=(4, 4, 8, 8), num_frames=2),
        GDKVM(GDKVM_SMALL),
    ],
    ids=["unet", "unet_3d", "gdkvm"],
)
def test_any_network_can_be_trained(network):
    method = MSSNetMethod(doc=True)
    method.prepare(network, DATA)
    terms = method(network.train(), EMA(network), batch(), 1.0)
    assert minimised(terms).isfinite()


def test_labels_that_no_mask_draws_are_not_made_up():
    generator = torch.Generator().manual_seed(0)
    data = set_of([disk_clip(generator, 32, 2, labels=(0, 1)) for _ in range(4)])
    method = MSSNetMethod(doc=True)
    method.prepare(student(), data)
    assert method.shapes.has_border.tolist() == [True, False, False]
    with pytest.raises(ConfigError, match="rac_only"):
        method.prepare(student(), set_of([disk_clip(generator, 32, 2, labels=(0, 3))]))


def test_confidence_is_one_for_a_sure_pixel_and_none_for_an_even_one():
    probs = torch.zeros(1, 1, 3, 2, 2)
    probs[:, :, 1] = 1
    assert confidence(probs).min() == pytest.approx(1, abs=1e-5)
    assert confidence(torch.full((1, 1, 3, 2, 2), 1 / 3)).max() == pytest.approx(0, abs=1e-5)


def test_a_teacher_that_sees_nothing_cannot_make_the_student_blind():
    """Collapse is tried: every pseudo-mask is empty, certain and stable."""
    network, method = student(), MSSNetMethod(rac=False, doc=True)
    method.prepare(network, DATA)

    class Blind(EMA):
        def forward(self, frames):
            probs = torch.zeros(*frames.shape[:2], 4, *frames.shape[3:])
            probs[:, :, 0] = 1
            return probs

    teacher = Blind(network)
    terms = method(network, teacher, batch(), 1.0)
    assert terms["mixed"].item() == pytest.approx(0, abs=1e-6)


def test_the_ramp_rises_from_nearly_nothing_to_one():
    values = [ramp_up(done) for done in (0, 0.1, 0.2, 0.3, 0.9)]
    assert values == sorted(values)
    assert values[0] < 0.01
    assert values[-2:] == [1, 1]


def test_unimatch_loses_features_of_the_weak_view_and_matches_them_with_its_own_mask(monkeypatch):
    network, given, method = student(), batch(), METHODS["unimatch"]()
    teacher, shown, expected = EMA(network), [], []

    class Seen(torch.nn.Module):
        """Notes what the network is given, and whether features are lost."""

        encoder3 = network.encoder3

        def forward(self, frames):
            shown.append((frames, len(network.encoder3._forward_hooks)))
            return network(frames)

    matched = method.matched
    monkeypatch.setattr(
        method, "matched", lambda logits, probs: expected.append(probs) or matched(logits, probs)
    )
    method(Seen(), teacher, given, 1.0)
    (both, hooks), (weak, lost_hooks) = shown
    assert (hooks, lost_hooks) == (0, 1)
    assert torch.equal(both[:6], given.strong)
    assert torch.equal(weak, given.weak[3:])
    probs = teacher(given.weak[3:])
    assert torch.equal(expected[2], probs)
    assert all(torch.equal(each, given.to_strong(probs, 3)) for each in expected[:2])
    assert not torch.equal(probs, expected[0])


@pytest.mark.parametrize(("known", "is_taught"), [((0, 1), False), (range(4), True)])
def test_copy_paste_teaches_no_background_where_a_label_is_not_known(known, is_taught):
    """Of hearts of which the cavity alone was drawn, the wall is not learned as background."""
    generator = torch.Generator().manual_seed(0)
    clips = [disk_clip(generator, 32, 2, labels=known) for _ in range(6)]
    cavities = [replace(clip, masks=(clip.masks == 1).to(torch.uint8)) for clip in clips]
    given = Batches(set_of(cavities, 3), small_config(), 3, 3)[0]
    logits = torch.nn.Parameter(torch.randn(6, 2, 4, 32, 32, generator=generator))

    class Fixed(torch.nn.Module):
        """The same logits whatever is shown: three labeled clips, and three mixed in both ways."""

        def forward(self, frames):
            return torch.cat([logits, logits[3:]])[: len(frames)]

    terms = BidirectionalCopyPaste()(Fixed(), lambda frames: logits[:3].softmax(2), given, 0.0)
    (slope,) = torch.autograd.grad(terms["pasted"], logits)
    drawn = given.masks[:3] == 1
    assert slope[3:].movedim(2, -1)[drawn].abs().max() > 0  # the cavity is learned
    outside = slope[3:].movedim(2, -1)[~drawn].abs().max()
    assert (outside > 0) == is_taught


def test_only_the_largest_piece_of_a_label_is_kept():
    probs = torch.zeros(1, 1, 3, 10, 10)
    probs[:, :, 0] = 0.5
    probs[0, 0, 1, :4, :4] = 1
    probs[0, 0, 1, 8:, 8:] = 1
    mask = largest_pieces(probs)[0, 0]
    assert mask[:4, :4].min() == 1
    assert mask[8:, 8:].max() == 0


def test_the_teacher_forgets_where_it_began():
    network = student()
    teacher = EMA(network, decay=0.9)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    for _ in range(60):
        teacher.update(network)
    pairs = zip(teacher.model.parameters(), network.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) < 0.01


def test_a_custom_loss_replaces_the_supervised_term_of_every_method():
    def loss(logits, masks):
        assert logits.ndim == 4
        assert masks.dtype == torch.long
        return 0 * logits.sum() + 7

    for name in METHODS:
        network, method = student(), METHODS[name]()
        method.prepare(network, DATA)
        method.loss = loss
        terms = method(network, EMA(network), batch(3 if method.uses_unlabeled else 0), 0.5)
        assert terms["supervised"].item() in (7, 14)  # cross pseudo supervision has two networks


@pytest.mark.parametrize("loss", [lambda logits: 1, lambda logits, masks: logits, lambda *x: 3.0])
def test_a_wrong_loss_is_refused(loss):
    network, method = student(), Supervised()
    method.loss = loss
    with pytest.raises(ConfigError, match="loss must"):
        method(network, EMA(network), batch(0), 1.0)
