import math

import pytest

from echoseg.errors import ConfigError
from echoseg.plugins import resolve

TABLE = {"one": 1}


def test_a_table_entry_comes_first():
    assert resolve("one", TABLE, "model") == 1


def test_a_dotted_name_is_imported():
    assert resolve("math:pi", TABLE, "model") == math.pi
    assert resolve("pathlib:Path.cwd", TABLE, "model").__name__ == "cwd"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two", "model must be one of one, or package.module:Name, got 'two'"),
        ("no_such_module_x:Net", "importing no_such_module_x failed"),
        ("no_such_module_x:Net", "install it or add its folder to PYTHONPATH"),
        ("math:no_such_name", "math has no no_such_name"),
        (":Net", "importing  failed"),
    ],
)
def test_an_unknown_name_is_refused(name, message):
    with pytest.raises(ConfigError) as refusal:
        resolve(name, TABLE, "model")
    assert message in str(refusal.value)


def test_a_module_that_fails_to_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('no GPU')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"broken_plugin failed \(RuntimeError: no GPU\); mend"):
        resolve("broken_plugin:Net", TABLE, "method")
