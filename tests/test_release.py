"""The steps of `scripts/release.py`, on small made-up files and on a copy of the repository."""

import runpy
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "release.py"
RELEASE = runpy.run_path(str(SCRIPT))
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "typst": "typst-py"}


def release(*words, fails=""):
    """Run a step; it must fail with this text, or succeed."""
    command = [sys.executable, SCRIPT, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == bool(fails), output
    assert "Traceback" not in output
    assert fails in output
    return done.stdout


@pytest.fixture
def dist(tmp_path):
    """A folder with a tiny wheel and a source distribution."""
    folder = tmp_path / "dist"
    folder.mkdir()
    with zipfile.ZipFile(folder / "echoseg-9-py3-none-any.whl", "w") as archive:
        archive.writestr("echoseg/weights/a.safetensors", b"abc")
        archive.writestr("echoseg/weights/a.trust.json", b"{}")
        archive.writestr("echoseg/weights/card.py", b"")
    (folder / "echoseg-9.tar.gz").write_bytes(b"abc")
    return folder


def test_checksums_list_every_file_and_the_weights(dist):
    release("checksums", dist)
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    weights = (dist / "weights.sha256").read_text().splitlines()
    assert weights[0] == f"{abc}  a.safetensors"
    assert [line.split("  ")[1] for line in weights] == ["a.safetensors", "a.trust.json"]
    assert f"{abc}  echoseg-9.tar.gz" in (dist / "SHA256SUMS").read_text().splitlines()
    before = (dist / "SHA256SUMS").read_bytes()
    release("checksums", dist)
    assert (dist / "SHA256SUMS").read_bytes() == before
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True)


@pytest.fixture
def key(tmp_path):
    """A throw-away key and its file of allowed signers."""
    program = shutil.which("ssh-keygen") or pytest.skip("needs ssh-keygen (OpenSSH 8.0)")
    path = tmp_path / "key"
    subprocess.run([program, "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    public = path.with_suffix(".pub").read_text()
    (tmp_path / "signers").write_text(f"{RELEASE['SIGNER']} {public}")
    return path


def test_a_signature_holds_for_these_files_and_this_key_only(dist, key, tmp_path):
    signers = tmp_path / "signers"
    release("sign", dist, "--key", key, fails="run `release.py checksums` first")
    release("checksums", dist)
    release("verify", dist, "--signers", signers, fails="there is no signature")
    release("sign", dist, "--key", key)
    assert "are right" in release("verify", dist, "--signers", signers)

    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    (tmp_path / "strangers").write_text(
        f"{RELEASE['SIGNER']} {other.with_suffix('.pub').read_text()}"
    )
    release("verify", dist, "--signers", tmp_path / "strangers", fails="ended with 255")

    (dist / "echoseg-9.tar.gz").write_bytes(b"abd")
    release("verify", dist, "--signers", signers, fails="echoseg-9.tar.gz is missing or not the")
    release("checksums", dist)  # a list that was made anew, with the signature of the former
    release("verify", dist, "--signers", signers, fails="ended with 255")


def test_the_page_for_users_verifies_as_the_script_does():
    page = (ROOT / "docs" / "release.md").read_text("utf-8")
    command = f"ssh-keygen -Y verify -n {RELEASE['NAMESPACE']} -I {RELEASE['SIGNER']}"
    assert page.count(command) == 2


def test_two_builds_that_differ_are_refused(tmp_path, capsys):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "a.whl").write_bytes(b"a")
    RELEASE["compare"](one, other)
    (other / "a.whl").write_bytes(b"b")
    (other / "b.whl").write_bytes(b"")
    with pytest.raises(RELEASE["typer"].Exit):
        RELEASE["compare"](one, other)
    assert "differ: a.whl, b.whl" in capsys.readouterr().err


@pytest.fixture
def copy(tmp_path):
    """What `cut` reads."""
    for name in (*RELEASE["VERSION_LINES"], "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_cut_writes_the_version_everywhere_and_closes_the_section(copy):
    entry = "- A change that this test made."
    changelog = copy / "CHANGELOG.md"
    text = changelog.read_text("utf-8").replace(
        "## [Unreleased]\n", f"## [Unreleased]\n\n{entry}\n", 1
    )
    changelog.write_text(text, "utf-8")
    before = {name: (copy / name).read_text("utf-8") for name in RELEASE["VERSION_LINES"]}
    release("cut", "99.0.0", "--date", "2031-02-03", "--root", copy)
    for name, old in before.items():
        new = (copy / name).read_text("utf-8")
        changed = [b for a, b in zip(old.splitlines(), new.splitlines(), strict=True) if a != b]
        assert all("99.0.0" in line or line == "date-released: 2031-02-03" for line in changed)
        assert len(changed) == 1 + (name == "CITATION.cff")
    assert tomllib.loads((copy / "pyproject.toml").read_text())["project"]["version"] == "99.0.0"
    closed = changelog.read_text("utf-8")
    head = f"## [Unreleased]\n\n## [99.0.0] - 2031-02-03\n\n{entry}\n"
    assert closed == text.replace(f"## [Unreleased]\n\n{entry}\n", head, 1)
    release("cut", "99.0.1", "--root", copy, fails="CHANGELOG.md has nothing under [Unreleased]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["0.0.1"], "version 0.0.1 does not come after"),
        (["next"], "give a version such as 1.2.3"),
        (["99.0.0", "--date", "3 May"], "a day such as 2026-01-31"),
    ],
)
def test_cut_refuses_and_writes_nothing(copy, words, message):
    def texts():
        return [(copy / name).read_bytes() for name in (*RELEASE["VERSION_LINES"], "CHANGELOG.md")]

    before = texts()
    release("cut", *words, "--root", copy, fails=message)
    assert texts() == before


def test_the_size_of_an_environment_is_that_of_its_files(tmp_path):
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    places = (tmp_path / "env" / name for name in ("bin/python", "Scripts/python.exe"))
    python = next(place for place in places if place.exists())
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    where = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    packages = Path(where.strip())
    (packages / "big-1.dist-info").mkdir()
    (packages / "big-1.dist-info" / "METADATA").write_text("Name: big\nVersion: 1\n")
    (packages / "big-1.dist-info" / "RECORD").write_text("big.bin,,\n")
    (packages / "big.bin").write_bytes(bytes(3_000_000))
    assert "3.0 MB  big" in release("size", python)
    release("size", python, "--max-mb", "2", fails="has 3 MB, more than 2")


def test_the_conda_recipe_needs_what_the_package_needs(monkeypatch):
    rattler_build = pytest.importorskip("rattler_build")
    monkeypatch.setenv("ECHOSEG_SDIST_SHA256", "0" * 64)
    recipe = rattler_build.Stage0Recipe.from_file(str(ROOT / "packaging/conda/recipe.yaml"))
    lowest = rattler_build.VariantConfig({"python_min": ["3.11"]})
    (variant,) = recipe.render(lowest)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {f"python {project['requires-python']}"}
    for text in project["dependencies"]:
        one = Requirement(text)
        needed.add(f"{CONDA_NAMES.get(one.name, one.name)} {one.specifier}")
    assert set(variant.recipe.requirements.run) == needed
    assert str(variant.recipe.package.version) == project["version"]
