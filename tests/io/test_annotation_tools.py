"""COCO and CVAT: what their own readers see, what their tools save, hostile files."""

import json
import tracemalloc
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from echoseg.errors import EchosegError, FormatError
from echoseg.io import coco, cvat, load_masks
from echoseg.io.frames import OpenOptions
from echoseg.io.label_names import label_of, polygon

# of pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (40, 30)
SQUARE = [[8, 5], [18, 5], [18, 20], [8, 20]]  # (x, y) of corners of pixels


def label_maps(num_frames=4):
    masks = np.zeros((num_frames, *SIZE), np.uint8)
    for index, mask in enumerate(masks[:-1]):  # the last is empty
        mask[5:20, 8 : 18 - index] = 1
        mask[20:24, 8:18] = 2
        mask[28:36, 0:18] = 3
    return masks


def load(path):
    return load_masks(path, fps=25)[1]


# round trips
def test_coco_is_read_by_its_own_reader_and_comes_back(tmp_path, capsys):
    masks, path = label_maps(), tmp_path / "a.json"
    coco.write(path, masks, "clip")
    reader = COCO(str(path))
    assert [one["name"] for one in reader.loadCats([1, 2, 3])] == [
        "LV cavity",
        "LV myocardium",
        "left atrium",
    ]
    drawn = np.zeros_like(masks)
    for one in reader.loadAnns(reader.getAnnIds()):
        region = reader.annToMask(one).astype(bool)
        assert one["area"] == region.sum()
        left, top, width, height = one["bbox"]
        assert region[top : top + height, left : left + width].sum() == one["area"]
        drawn[reader.imgs[one["image_id"]]["frame_id"]][region] = one["category_id"]
    assert np.array_equal(drawn, masks)
    assert np.array_equal(load(path), masks)


@pytest.mark.parametrize("tool", ["coco", "cvat"])
def test_many_small_regions_take_no_more_memory_than_few(tmp_path, tool):
    side, path = 1024, tmp_path / ("a.json" if tool == "coco" else "a.xml")
    peaks = []
    for number in (2, 2, 200):  # once more, after its imports
        if tool == "coco":
            shape = {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}
            images, names = [{"id": 1, "width": side, "height": side}], [{"id": 1, "name": "lv"}]
            document = {"images": images, "annotations": [shape] * number, "categories": names}
            path.write_text(json.dumps(document))
        else:
            shape = '<polygon label="lv" points="1,1;5,1;5,5"/>' * number
            image = f'<image id="0" width="{side}" height="{side}">{shape}</image>'
            path.write_text(f"<annotations>{image}</annotations>")
        tracemalloc.start()
        assert load(path).any()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 2 * side**2  # of a region's pixels: 198 if all were in memory


@pytest.mark.parametrize("seed", range(5))
def test_compressed_run_lengths_are_those_of_pycocotools(tmp_path, seed):
    """Random masks, whose run lengths rise and fall by more than one letter holds."""
    rng = np.random.default_rng(seed)
    region = rng.random(SIZE) < rng.choice([0.02, 0.5, 0.98])
    region[10:30] |= seed % 2 == 0
    packed = coco_mask.encode(np.asfortranarray(region.astype(np.uint8)))
    document = _document([{"segmentation": {"size": SIZE, "counts": packed["counts"].decode()}}])
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert np.array_equal(load(path)[0] == 1, region)


def test_polygons_are_filled_as_pycocotools_fills_them(tmp_path):
    points = np.array(SQUARE, float)
    packed = coco_mask.frPyObjects([points.ravel().tolist()], *SIZE)
    expected = coco_mask.decode(packed)[..., 0].astype(bool)
    assert np.array_equal(polygon(points, SIZE), expected)
    assert expected.sum() == 150


def test_a_contour_of_the_epicardium_may_enclose_the_cavity(tmp_path):
    outer = np.array([[6, 3], [20, 3], [20, 22], [6, 22]])
    shapes = [
        {"segmentation": [np.array(SQUARE).ravel().tolist()]},
        {"segmentation": [outer.ravel().tolist()], "category_id": 2},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(_document(shapes)))
    mask = load(path)[0]
    assert ((mask == 1).sum(), (mask == 2).sum()) == (150, 14 * 19 - 150)


def test_cvat_comes_back(tmp_path):
    masks, path = label_maps(), tmp_path / "a.xml"
    cvat.write(path, masks, "clip")
    root = ElementTree.parse(path).getroot()
    images = root.findall("image")
    assert [image.attrib["name"] for image in images][:2] == ["clip_000000.png", "clip_000001.png"]
    assert np.array_equal(load(path), masks)


def test_tracks_of_cvat_for_video_are_read(tmp_path):
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in SQUARE)
    shape = '<polygon frame="{}" keyframe="1" outside="{}" occluded="0" points="{}" z_order="0"/>'
    shapes = "".join(shape.format(i, int(i == 2), points) for i in range(3))
    (tmp_path / "a.xml").write_text(
        "<annotations><version>1.1</version><meta><job><size>4</size></job><original_size>"
        "<width>30</width><height>40</height></original_size></meta>"
        f'<track id="0" label="Left_ventricle" source="manual">{shapes}</track></annotations>'
    )
    masks = load(tmp_path / "a.xml")
    assert (masks == 1).sum((1, 2)).tolist() == [150, 150, 0, 0]


@pytest.mark.parametrize(("name", "label"), [("LV_endo", 1), ("EPICARDIUM", 2), ("la", 3)])
def test_usual_names_are_understood(name, label):
    assert label_of(name) == label and label_of("right ventricle") is None


def _one_square_per_image(tmp_path, about):
    """A document whose image i has a square from column i on, as it is read."""
    document = _document([], images=len(about)) | {"annotations": []}
    document["images"] = [
        {key: value for key, value in (image | more).items() if value is not None}
        for image, more in zip(document["images"], about, strict=True)
    ]
    for place, image in enumerate(document["images"]):
        points = [place, 2, place + 3, 2, place + 3, 5, place, 5]
        shape = {"id": place, "image_id": image["id"], "category_id": 1, "segmentation": [points]}
        document["annotations"].append(shape)
    (tmp_path / "a.json").write_text(json.dumps(document))
    return [int(np.nonzero(mask.any(0))[0][0]) for mask in load(tmp_path / "a.json")]


@pytest.mark.parametrize(
    "about",
    [
        [{"file_name": f"frame_{place}.png"} for place in range(12)],  # ids from 1
        [{"file_name": f"frame_{place}.png", "id": 99 - place} for place in range(12)],
        [{"file_name": "clip.avi", "id": place + 5} for place in range(12)],
        [{"file_name": None, "id": str(place)} for place in range(12)],
        [{"file_name": f"{11 - place}.png", "frame_id": place} for place in range(12)],
    ],
)
def test_coco_images_are_in_the_order_of_frame_numbers_names_or_ids(tmp_path, about):
    """CVAT writes no frame numbers, only names and ids from 1."""
    assert _one_square_per_image(tmp_path, about) == list(range(12))


@pytest.mark.parametrize(
    "about",
    [
        [{"file_name": "clip.avi", "id": f"{letter}"} for letter in "abc"],
        [{"frame_id": 0}, {"frame_id": 1}, {}],
        [{"frame_id": 0}, {"frame_id": 1}, {"frame_id": 1}],
    ],
)
def test_coco_images_of_no_known_order_are_refused(tmp_path, about):
    with pytest.raises(FormatError, match="the order of its images is unknown, give each a frame"):
        _one_square_per_image(tmp_path, about)


# refusals
def _document(shapes, images=1):
    about = {"height": SIZE[0], "width": SIZE[1]}
    shapes = [{"id": i, "image_id": 1, "category_id": 1} | one for i, one in enumerate(shapes)]
    return {
        "images": [{"id": i + 1, "file_name": f"{i}.png", **about} for i in range(images)],
        "categories": [{"id": 1, "name": "lv"}, {"id": 2, "name": "myocardium"}],
        "annotations": shapes,
    }


def _lengths(*counts, size=SIZE):
    return [{"segmentation": {"size": size, "counts": list(counts)}}]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"images": []}, "must be COCO annotations"),
        ({}, "must be COCO annotations"),
        (_document(_lengths(5, 5)), "do not fill it"),
        (_document(_lengths(-5, 1205)), "not numbers from 0"),
        (_document(_lengths(2**62, 2**62, 2**62, 2**62, 1200)), "not numbers from 0"),
        (_document(_lengths(1200, size=(30, 40))), "another size than its image"),
        (_document([{"segmentation": {"size": SIZE, "counts": "o" * 40}}]), "broken|do not fill"),
        (_document([{"segmentation": [[1, 2, 3]]}]), "must be COCO annotations"),
        (_document([{"segmentation": [], "image_id": 7}]), "must be COCO annotations"),
        (_document([]) | {"categories": [{"id": 1, "name": "aorta"}]}, None),
        (
            _document([{"segmentation": []}]) | {"categories": [{"id": 1, "name": "aorta"}]},
            "a label must be one of LV cavity",
        ),
    ],
)
def test_coco_of_another_kind_is_refused_in_a_sentence(tmp_path, document, words):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    if words is None:
        assert not coco.load(path, OpenOptions()).any()
        return
    with pytest.raises(FormatError, match=words):
        coco.load(path, OpenOptions())


def test_two_videos_and_two_sizes_are_refused(tmp_path):
    path, document = tmp_path / "a.json", _document([], images=2)
    document["images"][1]["video_id"] = 2
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="several videos; export one"):
        coco.load(path, OpenOptions())
    document["images"][1] |= {"video_id": None, "width": 31}
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="all images must have one size, there are 2"):
        coco.load(path, OpenOptions())


IMAGE = '<image id="{id}" name="a" width="30" height="40">{shape}</image>'
MASK = '<mask label="lv" rle="{rle}" left="{left}" top="1" width="4" height="2"/>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotations/>", "no original_size"),
        ("<annotations><image/></annotations>", "must be CVAT"),
        ("<annotations>", "must be CVAT"),
        (IMAGE.format(id=0, shape='<box label="lv" xtl="1"/>'), "there is a box"),
        (IMAGE.format(id=0, shape=MASK.format(rle="3, 9", left=1)), "not numbers from 0"),
        (IMAGE.format(id=0, shape=MASK.format(rle="8", left=28)), "a mask does not fit"),
        (IMAGE.format(id=10**9, shape=""), "no frames, or too many"),
        (IMAGE.format(id=0, shape=MASK.replace("lv", "aorta")), "a label must be one of"),
        (IMAGE.format(id=0, shape='<polygon label="lv" points="1,2;3"/>'), "must be CVAT"),
    ],
)
def test_cvat_of_another_kind_is_refused_in_a_sentence(tmp_path, text, words):
    path = tmp_path / "a.xml"
    path.write_text(text if "annotations" in text else f"<annotations>{text}</annotations>")
    with pytest.raises(FormatError, match=words):
        cvat.load(path, OpenOptions())


def test_entities_are_not_expanded(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>'
    )
    with pytest.raises(FormatError, match="declares entities"):
        cvat.load(path, OpenOptions())


def test_sizes_are_limited_before_anything_is_made(tmp_path):
    (tmp_path / "a.xml").write_text(
        '<annotations><image id="9999" name="a" width="5000" height="5000"/></annotations>'
    )
    with pytest.raises(EchosegError, match="GiB"):
        cvat.load(tmp_path / "a.xml", OpenOptions())
