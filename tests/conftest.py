"""What holds for all tests."""

import itertools
import os
import signal
import sys

import pytest

import shape_checks

# Threads of processes that run side by side share the cores; torch reads this as it is imported.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

shape_checks.install()

# Commands would export the network and measure every backend first; tests of that name theirs.
os.environ.setdefault("ECHOSEG_BACKEND", "torch")

# Options of this run, such as a file of results, are not those of a run that a test starts.
os.environ.pop("PYTEST_ADDOPTS", None)

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that;
# the tests that interrupt a command would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    """Say at once what fails: a run that is cut short has no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:  # the first process does
        crash = getattr(report.longrepr, "reprcrash", None)
        what = str(crash.message if crash else report.longrepr).partition("\n")[0]
        sys.__stderr__.write(f"\n{report.when} of {report.nodeid}: {what[:300]}\n")


@pytest.fixture(autouse=True)
def threads_left_alone():
    """A test that leaves torch another number of threads changes the sums of all that follow."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if before is not None:
        assert sys.modules["torch"].get_num_threads() == before


@pytest.fixture(scope="session")
def postgresql_url():
    """A function that makes a database in a PostgreSQL server of this run, and returns its URL."""
    import psycopg

    from node_makers import postgresql, postgresql_tools

    if (tools := postgresql_tools()) is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    numbers = itertools.count()
    with postgresql(tools) as url:

        def new_database():
            name = f"test{next(numbers)}"
            with psycopg.connect(url % "postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return url % name

        yield new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    return request.getfixturevalue("postgresql_url")()
