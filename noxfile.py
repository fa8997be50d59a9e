"""Tests on each Python and with the lowest, tested and newest dependencies: see docs/release.md.

`nox` runs what the interpreters of this machine allow, `nox -l` lists the sessions,
`nox -s "tests-3.12(resolution='newest')" -- tests/measure` chooses. Needs nox and uv.
On a machine without an NVIDIA GPU set UV_TORCH_BACKEND=cpu: torch's build with CUDA has gigabytes.
"""

import nox

PYTHONS = ("3.11", "3.12", "3.13")
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
    words = ("--python", str(session.python), "--extra", "dev", *RESOLUTIONS[resolution])
    session.run("uv", "pip", "compile", "-q", *words, "pyproject.toml", "-o", pins, external=True)
    session.install("-r", pins)
    session.install("--no-deps", ".")
    session.run("echoseg", "demo", "-o", f"{session.create_tmp()}/demo", "--force")
    environment = {"ECHOSEG_BACKEND": "torch"}
    tests = session.posargs or ["tests"]
    session.run("pytest", "-m", "not slow", "-W", "default", *tests, env=environment)
