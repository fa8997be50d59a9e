"""Masks in the formats and values that tools leave, and masks given as clips."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from clip_makers import moving_frames, write_metaimage
from echoseg.errors import FormatError, NotAClipError
from echoseg.io import load_clip, load_ed_es, load_masks
from echoseg.io.label_maps import are_label_maps
from echoseg.io.masks import labeled_pair, pair_clip
from echoseg.report.cohort import find_clips


@pytest.fixture
def masks():
    """A heart of three structures that shrinks and grows, `12 40 48`."""
    y, x = np.mgrid[:40, :48]
    masks = np.zeros((12, 40, 48), np.uint8)
    for index, mask in enumerate(masks):
        radius = 8 + 2 * np.cos(index)
        mask[np.hypot(y - 18, x - 22) < radius + 3] = 2
        mask[np.hypot(y - 18, x - 22) < radius] = 1
        mask[30:36, 16:28] = 3
    return masks


def nifti(path, array):
    nibabel.Nifti1Image(np.ascontiguousarray(array), np.eye(4)).to_filename(path)
    return path


def pictures(folder, frames, name="{:03}.png", mode=None, save=None):
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        image = Image.fromarray(frame, mode)
        if mode == "P":
            image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.save(folder / name.format(index), **save or {})
    return folder


def as_npz(path, masks):
    np.savez_compressed(path, image=moving_frames(12, rows=40, columns=48), masks=masks)
    return path


def as_tiff(path, masks):
    pages = [Image.fromarray(mask) for mask in masks]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def as_mha(path, masks):
    write_metaimage(path, masks, spacing_mm=(0.5, 0.5))
    return path


def one_hot(masks, *, background):
    return np.stack([masks == label for label in range(0 if background else 1, 4)], 1)


WRITTEN = {
    "npy": lambda at, m: np.save(at / "m.npy", m) or at / "m.npy",
    "npy of floats": lambda at, m: np.save(at / "m.npy", m.astype(float)) or at / "m.npy",
    "npz beside frames": lambda at, m: as_npz(at / "m.npz", m),
    "npy, a channel a label": lambda at, m: (
        np.save(at / "m.npy", one_hot(m, background=True)) or at / "m.npy"
    ),
    "npy, channels last, no background": lambda at, m: (
        np.save(at / "m.npy", np.moveaxis(one_hot(m, background=False), 1, -1)) or at / "m.npy"
    ),
    "npy of equal colors": lambda at, m: (
        np.save(at / "m.npy", np.stack([m] * 3, -1)) or at / "m.npy"
    ),
    "NIfTI, a channel a label": lambda at, m: nifti(
        at / "m.nii.gz", one_hot(m, background=True).T.astype(np.uint8)
    ),
    "NIfTI of 85, 170, 255": lambda at, m: nifti(at / "m.nii", (m * 85).T),
    "NIfTI of big-endian floats": lambda at, m: nifti(at / "m.nii", m.T.astype(">f4")),
    "MetaImage": lambda at, m: as_mha(at / "m.mhd", m),
    "PNG": lambda at, m: pictures(at / "p", m),
    "PNG of gray levels": lambda at, m: pictures(at / "p", m * 50),
    "PNG with a palette": lambda at, m: pictures(at / "p", m, mode="P"),
    "PNG of RGB that is gray": lambda at, m: pictures(at / "p", np.stack([m] * 3, -1)),
    "BMP, names without zeros": lambda at, m: pictures(at / "p", m, "mask ü{}.bmp"),
    "TIFF of pages": lambda at, m: as_tiff(at / "m.tif", m),
    "PNG beside frames": lambda at, m: pictures(
        pictures(at / "p", moving_frames(12, rows=40, columns=48)), m, "{:03}_mask.png"
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_masks_are_read_from_every_format_and_kind_of_values(tmp_path, masks, kind):
    path = WRITTEN[kind](tmp_path, masks)
    clip, read = load_masks(path, fps=25)
    np.testing.assert_array_equal(read, masks)
    assert clip.source_sha256
    says = [note.message for note in clip.warnings if note.code == "relabeled_masks"]
    assert bool(says) == any(word in kind for word in ("85", "gray levels"))


@pytest.mark.parametrize("value", [255, 1.0, 7, 128])
@pytest.mark.parametrize("suffix", ["nii.gz", "npy", "png"])
def test_two_values_are_a_cavity(tmp_path, masks, value, suffix):
    cavity = masks == 1
    values = (cavity * value).astype(np.float32 if value == 1.0 else np.uint8)
    path = tmp_path / f"m.{suffix}"
    if suffix == "npy":
        np.save(path, values)
    elif suffix == "nii.gz":
        nifti(path, values.T)
    else:
        path = pictures(tmp_path / "p", values.astype(np.uint8))
    clip, read = load_masks(path, fps=25)
    np.testing.assert_array_equal(read, cavity)
    says = [note.message for note in clip.warnings if note.code == "relabeled_masks"]
    assert bool(says) == (value != 1.0)
    assert all(f"{value:g} is taken as the LV cavity" in message for message in says)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda m: np.where(m == 1, 0.97, 0.01), "look like probabilities: cut them at 0.5"),
        (lambda m: np.where(m == 3, 4, m), "these hold 4; relabel it"),
        (lambda m: np.choose(m, (0, 127, 255, 200)), "these hold 127, 200, 255"),
        (lambda m: np.where(m == 1, -1, 0), "these hold -1"),
        (lambda m: np.where(m == 1, np.nan, 0.0), "these hold nan"),
        (lambda m: np.stack([m, m, m[::-1], m > 0], -1), "one channel of 0 and 1 per label"),
        (lambda m: np.moveaxis(m, 0, -1), "the last axis seems to be time"),
        (lambda m: m.astype(str), "labels must be numbers"),
    ],
)
def test_values_of_another_meaning_are_refused_with_the_way_out(tmp_path, masks, values, words):
    np.save(tmp_path / "m.npy", values(masks))
    with pytest.raises(FormatError, match=words):
        load_masks(tmp_path / "m.npy", fps=25)


def test_pictures_of_masks_in_colors_do_not_state_labels(tmp_path, masks):
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    with pytest.raises(FormatError, match="masks in 4 colors do not state their labels"):
        load_masks(pictures(tmp_path / "a", palette[masks]), fps=25)
    cavity = pictures(tmp_path / "b", palette[(masks == 1).astype(int)])
    np.testing.assert_array_equal(load_masks(cavity, fps=25)[1], masks == 1)
    Image.fromarray(masks[0][:30]).save(tmp_path / "b" / "900.png")
    with pytest.raises(FormatError, match="differ in size"):
        load_masks(cavity, fps=25)


def test_ed_and_es_may_be_two_pictures(tmp_path, masks):
    for name, index in (("ed", 0), ("es", 3)):
        Image.fromarray(masks[index]).save(tmp_path / f"{name}.png")
    clip, read = load_ed_es(tmp_path / "ed.png", tmp_path / "es.png", spacing_mm=(0.5, 0.5))
    np.testing.assert_array_equal(read, masks[[0, 3]])
    assert (clip.spacing_mm, clip.times_s) == ((0.5, 0.5), None)


def test_two_frames_with_masks_among_empty_ones_are_ed_and_es(tmp_path, masks):
    alone = np.zeros_like(masks)
    alone[[2, 6]] = masks[[2, 6]]
    assert labeled_pair(masks) is None
    assert labeled_pair(alone[[2, 6]]) is None
    pair = labeled_pair(alone)
    assert pair == (6, 2)  # the larger cavity is ED, though it comes later
    np.save(tmp_path / "m.npy", alone)
    clip = pair_clip(load_masks(tmp_path / "m.npy", fps=25)[0], pair)
    assert (clip.num_frames, clip.times_s) == (2, None)
    assert "Only frames 2 and 6 of 12 have masks: frame 6" in clip.warnings[-1].message


@pytest.mark.parametrize("kind", [*WRITTEN, "array"])
def test_masks_given_as_a_clip_are_refused_by_name(tmp_path, masks, kind):
    if kind == "PNG beside frames":
        return
    path = masks if kind == "array" else WRITTEN[kind](tmp_path, masks)
    if isinstance(path, type(tmp_path)) and path.suffix == ".npz":
        assert load_clip(path) is not None  # the frames, not the masks
        return
    if "channel" in kind or kind == "PNG with a palette":
        with pytest.raises(FormatError):
            load_clip(path)
        return
    with pytest.raises(NotAClipError, match="measure the masks with `echoseg measure`"):
        load_clip(path)


def test_label_maps_are_told_from_frames_by_their_levels(masks):
    noise = np.random.default_rng(0)
    frames = moving_frames(12)
    assert are_label_maps(masks)
    assert are_label_maps(masks.astype(np.float32))
    assert are_label_maps((masks * 80 + noise.integers(0, 4, masks.shape)).astype(np.uint8))
    assert not are_label_maps(frames)
    assert not are_label_maps(frames.astype(np.uint16) * 257)
    assert not are_label_maps(np.zeros_like(masks))  # black, which is another fault
    dark = noise.poisson(3, (12, 40, 40)).astype(np.uint8)  # of low gain
    assert not are_label_maps(dark)


def test_frames_of_16_bits_in_a_folder_are_no_masks(tmp_path):
    frames = moving_frames(6).astype(np.uint16) * 257
    clip = load_clip(pictures(tmp_path / "p", frames))
    np.testing.assert_array_equal(clip.frames, moving_frames(6))


def test_an_array_with_time_last_is_refused(tmp_path):
    frames = np.pad(moving_frames(30), ((0, 0), (9, 9), (9, 9)))
    np.save(tmp_path / "c.npy", np.moveaxis(frames, 0, -1))
    with pytest.raises(FormatError, match="the last axis seems to be time"):
        load_clip(tmp_path / "c.npy")
    with pytest.raises(FormatError, match="the last axis seems to be time"):
        load_clip(frames.T)


def test_a_folder_of_masks_in_that_of_the_frames_is_passed_over(tmp_path, masks):
    frames = pictures(tmp_path / "study" / "a", moving_frames(12, rows=40, columns=48))
    pictures(frames / "labels", masks)
    clips = find_clips([tmp_path / "study"])
    assert list(clips) == ["a"]
    assert "values of label maps" in clips.others["a/labels"]
    assert load_clip(frames).num_frames == 12
    pictures(frames / "other", moving_frames(3))
    assert "a" not in find_clips([tmp_path / "study"])  # frames in both: two clips


def test_the_header_of_a_pair_is_refused_by_name(tmp_path, masks):
    nibabel.save(nibabel.Nifti1Pair(masks.T, np.eye(4)), tmp_path / "m.img")
    with pytest.raises(FormatError, match="header of a NIfTI pair"):
        load_clip(tmp_path / "m.hdr")


@pytest.mark.parametrize("skipped", [0, 64, -1])
def test_a_header_before_the_pixels_of_a_metaimage_is_skipped(tmp_path, skipped):
    frames = moving_frames(5)
    size = " ".join(map(str, frames.shape[::-1]))
    (tmp_path / "c.raw").write_bytes(b"\7" * (64 if skipped else 0) + frames.tobytes())
    (tmp_path / "c.mhd").write_text(
        f"NDims = 3\nDimSize = {size}\nHeaderSize = {skipped}\nElementType = MET_UCHAR\n"
        "ElementDataFile = c.raw\n"
    )
    np.testing.assert_array_equal(load_clip(tmp_path / "c.mhd").frames, frames)


def test_a_missing_number_in_a_folder_of_masks_leaves_its_time(tmp_path, masks):
    path = pictures(tmp_path / "m", masks)
    (path / "001.png").unlink()
    clip, labels = load_masks(path, fps=50)
    assert np.array_equal(labels, np.delete(masks, 1, 0))
    assert clip.times_s == pytest.approx(np.delete(np.arange(len(masks)), 1) / 50)
