"""Make a release: build, checksums, signature, version. The steps are in docs/release.md.

python scripts/release.py build -o dist             # wheel and source distribution, twice
python scripts/release.py test-sdist dist           # a choice of tests in the unpacked sources
python scripts/release.py size PYTHON               # size of an environment, by package
python scripts/release.py checksums dist            # SHA256SUMS and weights.sha256
python scripts/release.py sign dist --key KEY       # signatures of both, by ssh-keygen
python scripts/release.py verify dist --signers FILE
python scripts/release.py cut 1.2.3                 # version and changelog; no commit, no tag
"""

import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NoReturn

import typer
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
WEIGHTS = "echoseg/weights/"
SUMS = "SHA256SUMS"
WEIGHT_SUMS = "weights.sha256"
NAMESPACE = "echoseg-release"
"""Of the signature: one made for another purpose does not count."""
SIGNER = "echoseg-maintainers"
"""Name of the maintainers' key in the file of allowed signers."""
VERSION_LINES = {
    "pyproject.toml": r'(?m)^(version = ").*(")$',
    "CITATION.cff": r"(?m)^(version: ).*()$",
    "README.md": r"(?m)^(  version = \{).*(\},)$",
    "packaging/conda/recipe.yaml": r'(?m)^(  version: ").*(")$',
    "integrations/napari-echoseg/pyproject.toml": r'(?m)^(version = ").*(")$',
}
SDIST_TESTS = (
    "tests/test_house.py tests/test_layers.py tests/test_paths.py tests/test_public_names.py "
    "tests/test_supply.py tests/test_build_info.py tests/metrics "
    "tests/contracts/test_formats_contract.py tests/docs/test_pages.py"
).split()
"""Every kind of file that tests need: code, weights, data, scripts, pages, lists of packages."""
MAX_BARE_MB = 1_600
"""Of a bare installation with the CPU build of torch; docs/release.md says what it is made of."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Folder of the files to release.")]


def stop(message: str) -> NoReturn:
    """End with one sentence on standard error."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)


def run(*command: str | Path, **options: Any) -> str:
    """Output of a command that must succeed; what it printed is shown if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        typer.echo(done.stdout + done.stderr, err=True)
        stop(f"{' '.join(words)} ended with {done.returncode}")
    return done.stdout


def git(*words: str) -> str:
    """Output of git in this repository."""
    return run("git", "-C", ROOT, *words).strip()


def sha256(data: bytes) -> str:
    """Digest in hexadecimal letters."""
    return hashlib.sha256(data).hexdigest()


@app.command()
def build(
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder.")] = Path("dist"),
) -> None:
    """Build the last commit twice, compare the bytes, check the metadata.

    The two builds differ in folder, umask, time zone and time; file times are the commit's.
    """
    if git("status", "--porcelain", "-uno"):
        stop("the checkout has changes: commit or revert them, since only the commit is built")
    if output.exists() and any(output.iterdir()):
        stop(f"{output} is not empty: remove it or give another folder")
    with TemporaryDirectory() as folder:
        places = (Path(folder) / "one", Path(folder) / "another" / "deeper")
        built = [
            _build(place, umask, zone)
            for place, umask, zone in zip(
                places, ("022", "077"), ("UTC", "Asia/Tokyo"), strict=True
            )
        ]
        compare(*built)
        files = sorted(built[0].iterdir())
        run(sys.executable, "-m", "twine", "check", "--strict", *files)
        check_contents(built[0], git("rev-parse", "HEAD"))
        output.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, output)
            typer.echo(
                f"{sha256(file.read_bytes())}  {file.name} ({file.stat().st_size / 1e6:.1f} MB)"
            )
    typer.echo("built twice, the same bytes; metadata and contents checked")


def _build(place: Path, umask: str, zone: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    out = place.with_name(f"{place.name}-dist")
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct"),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "TZ": zone,
    }
    environment.pop("ECHOSEG_COMMIT", None)
    script = 'umask "$1" && git clone -q "$2" "$3" && "$4" -m build -o "$5" "$3"'
    words = ("sh", "-c", script, "sh", umask, ROOT, place, sys.executable, out)
    run(*words, env=environment)
    return out


def compare(first: Path, second: Path) -> None:
    """Stop unless both folders hold the same files, byte for byte."""
    one, other = ({f.name: f.read_bytes() for f in folder.iterdir()} for folder in (first, second))
    if different := sorted(name for name in one | other if one.get(name) != other.get(name)):
        stop(f"two builds of one commit differ: {', '.join(different)}")


def check_contents(folder: Path, commit: str) -> None:
    """Stop unless wheel and source distribution state the commit and hold all weights."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    tracked = {f"src/{WEIGHTS}{name}" for name in os.listdir(ROOT / "src" / WEIGHTS)} & set(
        git("ls-files").splitlines()
    )
    with zipfile.ZipFile(wheel) as archive:
        missing = {name.removeprefix("src/") for name in tracked} - set(archive.namelist())
        stated = archive.read("echoseg/commit.txt").decode().strip()
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        missing |= set(git("ls-files").splitlines()) - inside
        member = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/src/echoseg/commit.txt")
        stated_too = member.read().decode().strip() if member else ""
    if missing:
        stop(f"left out of the build: {', '.join(sorted(missing)[:5])}")
    if {stated, stated_too} != {commit}:
        stop(f"the build states commit {stated} and {stated_too}, not {commit}")


@app.command()
def test_sdist(folder: Folder, tests: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run tests in the unpacked source distribution, with this environment's packages."""
    (sdist,) = folder.glob("*.tar.gz")
    with TemporaryDirectory() as place:
        with tarfile.open(sdist) as archive:
            archive.extractall(place, filter="data")
        (root,) = Path(place).iterdir()
        environment = os.environ | {"PYTHONPATH": str(root / "src")}
        where = "import echoseg; print(echoseg.__file__)"
        used = run(sys.executable, "-c", where, env=environment, cwd=root).strip()
        if not Path(used).is_relative_to(root):
            stop(f"the tests would use {used}, not the unpacked sources")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *(tests or SDIST_TESTS),
        ]
        raise typer.Exit(subprocess.run(command, cwd=root, env=environment).returncode)


@app.command()
def size(
    python: Annotated[Path, typer.Argument(help="Python of a virtual environment.")],
    max_mb: Annotated[int, typer.Option(help="Fail above this.")] = MAX_BARE_MB,
) -> None:
    """Print the size on disk of each package of an environment, the largest first.

    Installers (pip, setuptools, uv) are not counted; compiled Python is, where there is any.
    """
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", code).strip())
    sizes = {
        dist.name: _size_mb(dist)
        for dist in distributions(path=[str(packages)])
        if dist.name not in {"pip", "setuptools", "wheel", "uv"}
    }
    for name, size_mb in sorted(sizes.items(), key=lambda item: -item[1]):
        if size_mb >= 1:
            typer.echo(f"{size_mb:8.1f} MB  {name}")
    total_mb = sum(sizes.values())
    typer.echo(f"{total_mb:8.1f} MB  {len(sizes)} packages")
    if total_mb > max_mb:
        stop(f"the environment has {total_mb:.0f} MB, more than {max_mb}")


def _size_mb(dist: Distribution) -> float:
    paths = {Path(str(dist.locate_file(file))) for file in dist.files or ()}
    compiled = {p for path in paths for p in path.parent.glob(f"__pycache__/{path.stem}.*.pyc")}
    return sum(p.stat().st_size for p in paths | compiled if p.is_file()) / 1e6


@app.command()
def checksums(folder: Folder) -> None:
    """Write SHA256SUMS of all files, and weights.sha256 of the weights in the wheel."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        weights = {
            name.removeprefix(WEIGHTS): archive.read(name)
            for name in archive.namelist()
            if name.startswith(WEIGHTS) and name.endswith((".safetensors", ".json"))
        }
    _write_sums(folder / WEIGHT_SUMS, weights)
    own = {SUMS, f"{SUMS}.sig", f"{WEIGHT_SUMS}.sig"}
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name not in own}
    _write_sums(folder / SUMS, files)
    typer.echo(f"{folder / SUMS}: {len(files)} files; {WEIGHT_SUMS}: {len(weights)} files")


def _write_sums(path: Path, files: dict[str, bytes]) -> None:
    lines = (f"{sha256(files[name])}  {name}\n" for name in sorted(files))
    path.write_text("".join(lines), "utf-8", newline="\n")


@app.command()
def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Private SSH key, or the public one of an agent's.")],
) -> None:
    """Sign both lists of checksums with an SSH key, which stays where it is."""
    for name in (SUMS, WEIGHT_SUMS):
        if not (folder / name).exists():
            stop(f"there is no {folder / name}: run `release.py checksums` first")
        (folder / f"{name}.sig").unlink(missing_ok=True)
        run("ssh-keygen", "-Y", "sign", "-f", key, "-n", NAMESPACE, folder / name)
        typer.echo(f"{folder / name}.sig")


@app.command()
def verify(
    folder: Folder,
    signers: Annotated[Path, typer.Option(help="File of allowed signers (ssh-keygen).")],
) -> None:
    """Check signatures and checksums of a folder of released files, offline."""
    for name in (SUMS, WEIGHT_SUMS):
        if not (folder / f"{name}.sig").exists():
            stop(f"there is no signature {folder / name}.sig")
        command = f"ssh-keygen -Y verify -n {NAMESPACE} -I {SIGNER}".split()
        with (folder / name).open() as file:
            run(*command, "-f", signers, "-s", folder / f"{name}.sig", stdin=file)
    for line in (folder / SUMS).read_text("utf-8").splitlines():
        digest, name = line.split("  ", 1)
        if not (folder / name).exists() or sha256((folder / name).read_bytes()) != digest:
            stop(f"{name} is missing or not the file that was signed")
    typer.echo("signatures and checksums are right")


@app.command()
def cut(
    version: str,
    date: Annotated[str, typer.Option(help="Of the release, YYYY-MM-DD; default: today.")] = "",
    root: Annotated[Path, typer.Option(help="Another copy of the repository.")] = ROOT,
) -> None:
    """Write the version into every file that states it, and close the changelog's section."""
    day = date or datetime.datetime.now(datetime.UTC).date().isoformat()
    texts = {name: (root / name).read_text("utf-8") for name in (*VERSION_LINES, "CHANGELOG.md")}
    try:
        datetime.date.fromisoformat(day)
        new = Version(version)
    except (ValueError, InvalidVersion) as error:
        stop(f"{error}: give a version such as 1.2.3 and a day such as 2026-01-31")
    old = Version(tomllib.loads(texts["pyproject.toml"])["project"]["version"])
    if new <= old:
        stop(f"version {version} does not come after {old}")
    changelog = texts["CHANGELOG.md"]
    if not re.search(r"(?m)^## \[Unreleased\]\n+(?!## \[)\S", changelog):
        stop("CHANGELOG.md has nothing under [Unreleased]")
    heading = f"## [Unreleased]\n\n## [{version}] - {day}\n"
    texts["CHANGELOG.md"] = changelog.replace("## [Unreleased]\n", heading, 1)
    for name, pattern in VERSION_LINES.items():
        texts[name], count = re.subn(pattern, rf"\g<1>{version}\g<2>", texts[name])
        if count != 1:
            stop(f"{name} has {count} lines with the version, not 1")
    texts["CITATION.cff"] = re.sub(
        r"(?m)^date-released: .*$", f"date-released: {day}", texts["CITATION.cff"]
    )
    for name, text in texts.items():
        (root / name).write_text(text, "utf-8")
    typer.echo(
        f"{version} of {day} in {', '.join(texts)}. Next: install anew, run the tests, commit, "
        f"`git tag -s v{version}`."
    )


if __name__ == "__main__":
    app()
