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
TESTED_ONLY = (
    "tests/test_supply.py::test_lock_holds_every_run_time_dependency_at_the_tested_version",
    "tests/report/test_writer.py::test_the_published_schema_is_the_reports",
)
"""Tests that compare with files made with the tested versions."""

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
    tests = [*session.posargs] or ["tests"]
    if resolution != "tested":
        tests += [f"--deselect={name}" for name in TESTED_ONLY]
    session.run("pytest", "-m", "not slow", "-W", "default", *tests, env=environment)
