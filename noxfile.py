"""Tests on each Python and with the lowest, tested and newest dependencies: see docs/release.md.

`nox` runs what the interpreters of this machine allow, `nox -l` lists the sessions,
`nox -s "tests-3.12(resolution='newest')" -- tests/measure` chooses. Needs nox and uv.
On a machine without an NVIDIA GPU set UV_TORCH_BACKEND=cpu: torch's build with CUDA has gigabytes.
"""

import nox

PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = "phantom,train,parquet,excel,hdf5,exchange,dicom"
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "beartype", "packaging")
TESTS = (
    "tests/measure tests/metrics tests/io tests/contracts/test_formats_contract.py "
    "tests/preprocess tests/quality tests/data tests/test_clip.py tests/test_public_names.py "
    "tests/test_untrusted.py tests/cli/test_measure.py"
).split()
RESOLUTIONS = {
    "lowest": ("--resolution", "lowest-direct"),
    "tested": ("-c", "constraints.txt"),
    "newest": ("--resolution", "highest"),
}

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
@nox.parametrize("resolution", list(RESOLUTIONS))
def tests(session: nox.Session, resolution: str) -> None:
    """Resolve, install, analyze the demo clips, run tests; warnings of libraries are no errors."""
    pins = f"{session.create_tmp()}/{resolution}.txt"
    options = (
        *RESOLUTIONS[resolution],
        *(word for e in EXTRAS.split(",") for word in ("--extra", e)),
    )
    compile_command = ("uv", "pip", "compile", "-q", "--python", str(session.python), *options)
    session.run(*compile_command, "pyproject.toml", "-o", pins, external=True)
    session.install("-r", pins)
    session.install("-c", pins, *TEST_TOOLS)
    session.install("--no-deps", ".")
    session.run("echoseg", "demo", "-o", f"{session.create_tmp()}/demo", "--force")
    environment = {"ECHOSEG_BACKEND": "torch"}
    words = session.posargs or TESTS
    session.run("pytest", "-m", "not slow", "-W", "default", *words, env=environment)
