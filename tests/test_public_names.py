"""What `import echoseg` offers: the names, their documentation, and what bad input gives."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import echoseg

NAMES = {
    "Analysis", "Clip", "EchosegError", "Label", "View", "__version__", "analyze", "evaluate",
    "load_clip", "load_dataset", "load_model",
}  # fmt: skip


def test_public_names_are_sorted_and_unique():
    assert echoseg.__all__ == sorted(set(echoseg.__all__))
    assert set(echoseg.__all__) >= NAMES


def test_what_is_exposed_is_what_is_listed():
    assert sorted(dir(echoseg)) == echoseg.__all__
    star: dict[str, object] = {}
    exec("from echoseg import *", star)
    assert set(star) - {"__builtins__"} == set(echoseg.__all__)


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="module 'echoseg' has no attribute 'segment'"):
        echoseg.segment  # noqa: B018


def test_submodules_are_attributes_of_the_package():
    code = "import echoseg; print(echoseg.models.MSSNet, echoseg.data.DATASETS, echoseg.metrics)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", [n for n in echoseg.__all__ if n != "__version__"])
def test_every_public_name_is_documented(name):
    thing = getattr(echoseg, name)
    # a data class without a docstring gets its signature as one
    assert thing.__doc__ and not thing.__doc__.startswith(f"{name}(")
    members = vars(thing).items() if inspect.isclass(thing) else []
    for member, value in members:
        if not member.startswith("_") and (
            inspect.isfunction(value) or isinstance(value, property)
        ):
            assert value.__doc__, f"{name}.{member} has no docstring"


WRONG_TYPES = {"None": None, "int": 3, "dict": {"frames": 1}, "list": [1, 2], "object": object()}
WRONG_VALUES = {
    "no such path": "nowhere/clip.dcm",
    "empty text": "",
    "corrupt bytes": b"RIFF\x00\x00\x00\x00AVI LIST",
    "empty bytes": b"",
    "text bytes": b"a string of bytes",
    "empty array": np.zeros((0, 8, 8), np.uint8),
    "all NaN": np.full((4, 8, 8), np.nan),
    "2-D array": np.zeros((8, 8), np.uint8),
    "5-D array": np.zeros((2, 2, 8, 8, 3), np.uint8),
    "text array": np.array([["a"]]),
    "still array": np.zeros((8, 64, 64), np.uint8),
}


@pytest.mark.parametrize("value", WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_analyze_refuses_a_wrong_type_with_the_way_out(value):
    with pytest.raises(TypeError, match="path, bytes or an array") as refusal:
        echoseg.analyze(value)
    assert "analyze takes a Clip too" in str(refusal.value)


@pytest.mark.parametrize("value", WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_analyze_refuses_bad_clips_in_one_line(value):
    with pytest.raises(echoseg.EchosegError) as refusal:
        echoseg.analyze(value, device="cpu")
    assert len(str(refusal.value).splitlines()) == 1


def test_analyze_refuses_a_folder_and_a_damaged_file(tmp_path):
    (tmp_path / "clip.avi").write_bytes(b"RIFF")
    for path in (tmp_path, tmp_path / "clip.avi"):
        with pytest.raises(echoseg.EchosegError):
            echoseg.analyze(path)


@pytest.mark.parametrize(
    "options",
    [
        {"spacing_mm": (0, 1)},
        {"spacing_mm": "wide"},
        {"fps": -1},
        {"view": "A9C"},
        {"model": "nonsense"},
        {"device": "abacus"},
    ],
)
def test_analyze_refuses_options_out_of_range(options):
    clip = echoseg.Clip(frames=np.zeros((4, 64, 64), np.uint8))
    with pytest.raises(echoseg.EchosegError, match=f"{next(iter(options))}"):
        echoseg.analyze(clip, **options)
