"""What `import echoseg` gives is listed, sorted, there and documented."""

import inspect

import pytest

import echoseg


def test_the_public_names_are_sorted_and_each_once():
    assert echoseg.__all__ == sorted(set(echoseg.__all__))


def test_the_public_names_are_the_ones_the_readme_tells_of():
    assert set(echoseg.__all__) == {
        "Analysis",
        "Clip",
        "EchosegError",
        "Label",
        "View",
        "__version__",
        "analyze",
        "evaluate",
        "load_clip",
        "load_dataset",
        "load_model",
        "models",
        "open_clip",
    }


def test_what_is_exposed_is_what_is_listed():
    assert sorted(dir(echoseg)) == echoseg.__all__
    star: dict[str, object] = {}
    exec("from echoseg import *", star)
    assert set(star) - {"__builtins__"} == set(echoseg.__all__)


def test_an_unknown_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'echoseg' has no attribute 'segment'"):
        echoseg.segment  # noqa: B018


def test_the_version_has_three_numbers():
    assert len([part for part in echoseg.__version__.split(".")[:3] if part.isdigit()]) == 3


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
