import pytest
import torch

from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL, cross_entropy_dice_loss
from echoseg.models import MODELS
from echoseg.models.gdkvm import GDKVM, GDKVMConfig
from echoseg.models.mssnet import MSSNet, MSSNetConfig
from echoseg.models.msv_mamba import MSVMamba, MSVMambaConfig
from echoseg.train.data.batches import BatchConfig, Batches
from echoseg.train.ema import Teacher
from echoseg.train.methods import METHODS
from echoseg.train.methods.base import ramp_up
from echoseg.train.methods.bcp import largest_pieces
from echoseg.train.methods.mssnet import MSSNetMethod, _clip_by_clip, _labelled_sample
from echoseg.train.methods.supervised import Supervised
from train.makers import disk_pool

POOL = disk_pool(12, num_labeled=4)


def student() -> MSSNet:
    torch.manual_seed(0)
    return MSSNet(MSSNetConfig(size="tiny")).train()


def batch(num_unlabeled: int = 3):
    return Batches(
        POOL, BatchConfig(image_size=32, num_labeled=3, num_unlabeled=num_unlabeled)
    ).next()


def minimised(terms):
    return sum(value for name, value in terms.items() if not name.startswith("told_"))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_objective_gives_finite_terms_and_gradients(name):
    network = student()
    method = METHODS[name]()
    method.prepare(network, POOL)
    terms = method(network, Teacher(network), batch(3 if method.unlabelled else 0), 0.7)
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
            network, Teacher(network), given, 1.0
        ).values()
    answer, *others = (
        cross_entropy_dice_loss(each, given.masks.flatten(0, 1))
        for each in network.level_logits(given.frames.flatten(0, 1))
    )
    assert found[False].item() == pytest.approx(answer.item(), rel=1e-5)
    assert found[True].item() == pytest.approx(
        (answer + 0.4 * torch.stack(others).mean()).item(), rel=1e-5
    )


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"supervised", "bcp"}))
def test_hidden_truth_reaches_no_loss(name):
    found = []
    for truth in (batch().truth, torch.full_like(batch().truth, IGNORE_LABEL)):
        network = student()
        method = METHODS[name]()
        method.prepare(network, POOL)
        teacher = Teacher(network)
        torch.manual_seed(5)
        found.append(minimised(method(network, teacher, batch()._replace(truth=truth), 1.0)))
    assert found[0].item() == found[1].item()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"supervised"}))
def test_the_teacher_is_never_differentiated(name):
    network = student()
    method = METHODS[name]()
    method.prepare(network, POOL)
    teacher = Teacher(network)
    minimised(method(network, teacher, batch(), 1.0)).backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_without_trust_nothing_but_what_experts_drew_counts():
    network, method = student(), MSSNetMethod(rac=False)
    method.prepare(network, POOL)
    terms = method(network, Teacher(network), batch(), 0.0)
    assert terms["mixed"].item() == 0


def test_without_trust_an_unlabelled_clip_is_the_background_of_a_labelled_heart():
    network, method, seen = student(), MSSNetMethod(), batch()
    method.prepare(network, POOL)
    drawn = _labelled_sample(seen)
    loose, _ = method._targets(seen, Teacher(network)(seen.plain[seen.num_labeled :]), 0.0)
    mixed = method._mixed(loose, drawn, 0.0)
    assert loose.weights.max() == 0
    counted = mixed.weights > 0.99
    assert counted.any()
    assert mixed.probs.amax(2)[counted].min() > 0.9  # as sure as an expert's mask


@pytest.mark.parametrize(
    ("num_labeled", "num_processes", "shared"),
    [(4, 1, (6, 6)), (20, 1, (9, 3)), (400, 2, (10, 2))],
)
def test_the_more_is_labelled_the_more_hosts_are(num_labeled, num_processes, shared):
    pool = disk_pool(max(num_labeled, 12), num_labeled=num_labeled)
    asked = BatchConfig(num_labeled=6, num_unlabeled=6)
    found = MSSNetMethod().share_out(pool, asked, num_processes)
    assert (found.num_labeled, found.num_unlabeled) == shared
    assert MSSNetMethod(rac=False).share_out(pool, asked, num_processes) == asked


def test_clips_with_few_labelled_frames_count_for_little():
    pool = disk_pool(40, num_frames=8, num_labeled=40)
    pool.masks[:, 1:-1] = IGNORE_LABEL  # ED and ES alone: 40 clips are worth 10
    asked = BatchConfig(num_labeled=6, num_unlabeled=6)
    assert MSSNetMethod().share_out(pool, asked, 1).num_unlabeled == 5


def test_a_labelled_host_has_a_labelled_donor_and_is_trusted_whole():
    network, method = student(), MSSNetMethod(half_labeled_clips=0)
    method.prepare(network, POOL)
    config = BatchConfig(image_size=32, num_labeled=3, num_unlabeled=3)
    shared = method.share_out(POOL, config, 1)
    assert (shared.num_labeled, shared.num_unlabeled) == (5, 1)
    seen = Batches(POOL, shared).next()
    drawn = _labelled_sample(seen)
    loose, _ = method._targets(seen, Teacher(network)(seen.plain[5:]), 1.0)
    mixed = method._mixed(loose, drawn, 1.0)
    assert len(mixed.frames) == 3
    # beyond the donor's frame nothing is known; all else is an expert's
    weights = mixed.weights[:2]
    assert (weights > 0.99).float().mean() > 0.9
    terms = method(network, Teacher(network), seen, 1.0)
    assert all(value.isfinite() for name, value in terms.items() if name != "told_pseudo_dice")


def test_rac_and_doc_can_each_be_left_out():
    for rac, doc in ((True, False), (False, True), (False, False)):
        network, method = student(), MSSNetMethod(rac=rac, doc=doc)
        method.prepare(network, POOL)
        terms = method(network, Teacher(network), batch(), 1.0)
        assert ("prototypes" in terms) == doc
        assert (method.store is not None) == doc


@pytest.mark.parametrize("rac", [True, False])
def test_doc_sees_every_frame_of_a_network_that_draws_them_one_by_one(rac):
    torch.manual_seed(0)
    config = GDKVMConfig(widths=(4, 8, 8, 16), value_widths=(4, 4, 8, 8), num_heads=1)
    network, method = GDKVM(config).train(), MSSNetMethod(rac=rac)
    method.prepare(network, POOL)
    terms = method(network, Teacher(network), batch(), 1.0)
    assert terms["prototypes"].isfinite()


def test_features_seen_frame_by_frame_stand_as_those_of_whole_clips():
    clips = torch.rand(3, 2, 4, 5, 5)
    frame_by_frame = _clip_by_clip(list(clips.unbind(1)))
    assert torch.equal(frame_by_frame, _clip_by_clip([clips.flatten(0, 1)]))


@pytest.mark.parametrize("model", ["unet", "unet_3d"])
def test_without_doc_a_network_needs_no_last_layer_of_its_own(model):
    kind = MODELS[model]
    widths = (4, 4, 8, 8, 8) if model == "unet" else (4, 4, 8, 8)
    more = {"num_frames": 2} if model == "unet_3d" else {}
    network, method = kind(kind.config_class(widths=widths, **more)), MSSNetMethod(doc=False)
    method.prepare(network, POOL)
    terms = method(network, Teacher(network), batch(), 1.0)
    assert minimised(terms).isfinite()


def test_doc_refuses_a_network_whose_features_it_cannot_see():
    with pytest.raises(ConfigError, match="head"):
        MSSNetMethod().prepare(torch.nn.Conv2d(1, 4, 1), POOL)


def test_a_teacher_that_sees_nothing_cannot_make_the_student_blind():
    """Collapse is tried: every pseudo-mask is empty, certain and stable."""
    network, method = student(), MSSNetMethod(rac=False)
    method.prepare(network, POOL)

    class Blind(Teacher):
        def forward(self, frames):
            probs = torch.zeros(*frames.shape[:2], 4, *frames.shape[3:])
            probs[:, :, 0] = 1
            return probs

    teacher = Blind(network)
    terms = method(network, teacher, batch(), 1.0)
    assert terms["mixed"].item() == 0
    assert not method.store.is_stored.any()


def test_the_ramp_rises_from_nearly_nothing_to_one():
    values = [ramp_up(done) for done in (0, 0.1, 0.2, 0.3, 0.9)]
    assert values == sorted(values)
    assert values[0] < 0.01
    assert values[-2:] == [1, 1]


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
    teacher = Teacher(network, decay=0.9)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    for _ in range(60):
        teacher.follow(network)
    pairs = zip(teacher.segmenter.parameters(), network.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) < 0.01
