"""A cohort on a cluster of local processes: how fast, how large, and does it survive kills?

    python benchmarks/engines.py speed --engines local dask ray [--clips 2000] [--nodes 2]
    python benchmarks/engines.py kills [--clips 5000] [--nodes 3] [--kills 40] [--seed 0]
    python benchmarks/engines.py kills --engines local --nodes 2

The clips are text files, of which 3 % are broken, and the network is a stub
(`tests/cohort_stub.py`): reading takes no time, the result of a heart of 12 frames is written as
usual. So what is timed is everything but decoding and network. Each node is a process of its own
on this machine. `kills` ends workers, the scheduler or the driver
by SIGKILL at random moments, starts them again, continues with `--resume`, and compares the tables
with those of a quiet run of one local process. Ray, which echoseg does not ship, is driven by
`ray_map` below. Asserts nothing.
"""

import argparse
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from cohort import num_done
from speed import machine

TESTS = Path(__file__).parents[1] / "tests"
TABLES = ("results.csv", "failures.csv", "not_clips.csv")
BROKEN = 0.03
DRIVER = "import sys; sys.path[:0] = sys.argv[1:3]; import engines; engines.drive(*sys.argv[3:])"


def make_clips(folder: Path, number: int, seed: int) -> Path:
    """Write text clips, 3 % of them broken."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        word = "broken" if draw.random() < BROKEN else "ok"
        (folder / f"{index:05d}.avi").write_text(f"{word} {index}")
    return folder


def drive(engine: str, root: str, out: str, address: str) -> None:
    """Run or continue a cohort in this process."""
    import cohort_stub
    from echoseg.report import cohort
    from echoseg.report.cohort.folder import Engine

    cohort.Work = cohort_stub.StubWork
    chosen = None if engine == "local" else Engine(scheduler=address)
    if engine == "ray":
        cohort.engine_map = ray_map
    start_s = time.perf_counter()
    clips = cohort.FoundClips()
    for path in sorted(Path(root).iterdir()):  # their headers are nothing to read
        clips.add(path.name, path)
    options = cohort.RunOptions(resume=True, jobs=int(address or 1) if chosen is None else 1)
    cohort.run_cohort(
        clips, cohort_stub.SETTINGS, Path(out), options.model_copy(update={"engine": chosen})
    )
    print(json.dumps({"run_s": time.perf_counter() - start_s}))


def ray_map(work: Any, entries: Sequence[Any], engine: Any) -> Iterator[Any]:
    """As `engine.engine_map`, on Ray: an actor per CPU, two clips waiting for each."""
    import ray

    from echoseg.report.cohort.engine import Task, do_entry

    ray.init(address=engine.scheduler, log_to_driver=False)
    task = Task.of(work)
    while ray.cluster_resources().get("CPU", 0) < 1:
        time.sleep(0.5)

    @ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=3)
    class Seat:
        def do(self, entry: Any) -> None:
            do_entry(task, entry, 1)

    seats = [Seat.remote() for _ in range(int(ray.cluster_resources()["CPU"]))]
    left, pending = iter(entries), {}
    for seat in seats * 2:
        if (entry := next(left, None)) is not None:
            pending[seat.do.remote(entry)] = (seat, entry)
    while pending:
        (done,), _ = ray.wait(list(pending))
        seat, entry = pending.pop(done)
        ray.get(done)
        yield entry
        if (entry := next(left, None)) is not None:
            pending[seat.do.remote(entry)] = (seat, entry)
    ray.shutdown()


class Cluster:
    """A scheduler and nodes, each a process of this machine."""

    def __init__(self, engine: str, nodes: int, work: Path, port: int) -> None:
        self.engine, self.work, self.port = engine, work, port or _free_port()
        self.head = self._start(*self._head())
        time.sleep(8 if engine == "ray" else 3)
        self.nodes = [self._start(*self._node()) for _ in range(nodes)]

    @property
    def address(self) -> str:
        """Where a driver connects to."""
        return f"tcp://127.0.0.1:{self.port}" if self.engine == "dask" else f"127.0.0.1:{self.port}"

    def _head(self) -> list[str]:
        if self.engine == "dask":
            return [*_module("distributed.cli.dask_scheduler"), "--host", "127.0.0.1",
                    "--port", str(self.port), "--no-dashboard"]  # fmt: skip
        return ["ray", "start", "--head", f"--port={self.port}", "--num-cpus=0", "--block",
                "--include-dashboard=false", "--disable-usage-stats"]  # fmt: skip

    def _node(self) -> list[str]:
        if self.engine == "dask":
            return [*_module("distributed.cli.dask_worker"), self.address, "--no-nanny",
                    "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]  # fmt: skip
        return ["ray", "start", f"--address={self.address}", "--num-cpus=1", "--block",
                "--disable-usage-stats"]  # fmt: skip

    def _start(self, *words: str) -> psutil.Popen:
        paths = [str(TESTS), str(TESTS.parent / "src"), str(TESTS.parent)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        program = (
            words if words[0] != "ray" else (str(Path(sys.executable).with_name("ray")), *words[1:])
        )
        with (self.work / "cluster.log").open("a") as log:
            return psutil.Popen(program, env=environment, stdout=log, stderr=log, cwd=self.work)

    def memory_mb(self) -> float:
        """Proportional memory of all its processes, without what works on clips."""
        total = 0.0
        for top in (self.head, *self.nodes):
            for one in (top, *top.children(recursive=True)):
                total += one.memory_full_info().pss / 1e6
        return total

    def restart_node(self, index: int) -> None:
        """Kill a node and start it again."""
        _kill(self.nodes[index])
        self.nodes[index] = self._start(*self._node())

    def restart_head(self) -> None:
        """Kill the scheduler and start it again; nodes end with it and are started again."""
        _kill(self.head)
        self.head = self._start(*self._head())

    def revive(self) -> None:
        """Start the nodes that have ended, as a service manager would."""
        for index, node in enumerate(self.nodes):
            if node.poll() is not None:
                self.restart_node(index)

    def close(self) -> None:
        """End all."""
        for one in (*self.nodes, self.head):
            _kill(one)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _kill(process: psutil.Popen) -> None:
    """SIGKILL to a process and all below it, as when a machine fails."""
    try:
        below = process.children(recursive=True)
        process.kill()
        psutil.wait_procs([process])
        for one in below:
            one.kill()
    except psutil.Error:
        pass


def start(engine: str, root: Path, out: Path, address: str) -> psutil.Popen:
    """Start or continue a cohort in a process."""
    words = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(TESTS)]
    with (out.parent / "driver.log").open("a") as log:
        return psutil.Popen(
            [*words, engine, str(root), str(out), address], stdout=subprocess.PIPE, stderr=log
        )


def _cpu_s(cluster: Cluster | None) -> float:
    """CPU time of the drivers that have ended, with their workers, and of a cluster by now."""
    total = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for top in (cluster.head, *cluster.nodes) if cluster else ():
        for one in (top, *top.children(recursive=True)):
            total += sum(one.cpu_times()[:4])
    return total


def speed(args: argparse.Namespace, root: Path) -> dict[str, object]:
    """Time a quiet run by each engine."""
    results: dict[str, object] = {}
    expected = None
    for engine in args.engines:
        out = args.work / f"speed-{engine}"
        shutil.rmtree(out, ignore_errors=True)
        begin_s = time.perf_counter()
        cluster = None if engine == "local" else Cluster(engine, args.nodes, args.work, args.port)
        time.sleep(0 if cluster is None else 10)
        idle_mb = 0.0 if cluster is None else cluster.memory_mb()
        before_s = _cpu_s(cluster)
        driver = start(engine, root, out, str(args.nodes) if cluster is None else cluster.address)
        text = driver.communicate()[0].decode()
        cpu_s = _cpu_s(cluster) - before_s
        if cluster is not None:
            cluster.close()
        tables = [(out / name).read_bytes() for name in TABLES]
        expected = expected or tables
        run_s = json.loads(text.splitlines()[-1])["run_s"]
        results[engine] = {
            "run_s": round(run_s, 1),
            "ms_per_clip": round(1000 * run_s / args.clips, 1),
            "idle_cluster_mb": round(idle_mb),
            "cpu_ms_per_clip": round(1000 * cpu_s / args.clips, 1),
            "with_start_s": round(time.perf_counter() - begin_s, 1),
            "same_tables": tables == expected,
        }
        print(engine, results[engine], flush=True)
    return results


def kills(args: argparse.Namespace, root: Path) -> dict[str, object]:
    """Kill workers and driver, of a Dask cluster the scheduler too, until the cohort is whole."""
    quiet, out = args.work / "quiet", args.work / "killed"
    shutil.rmtree(out, ignore_errors=True)
    if not (quiet / TABLES[0]).exists():
        start("local", root, quiet, "1").wait()
    draw, counts, ended = random.Random(args.seed), Counter[str](), 0
    engine = "dask" if "dask" in args.engines else "local"
    cluster = Cluster(engine, args.nodes, args.work, args.port) if engine == "dask" else None
    address = cluster.address if cluster else str(args.nodes)
    kinds = ["worker", "worker", *["scheduler"] * bool(cluster), "driver"]
    begin_s = time.perf_counter()
    driver = start(engine, root, out, address)
    while counts["runs"] < 1000:
        if driver.poll() is not None:
            counts["runs"] += 1
            texts = [(out / n).read_text() if (out / n).exists() else "killed" for n in TABLES]
            if driver.returncode == 0 and "killed" not in texts[1] and "lost" not in texts[1]:
                break
            driver = start(engine, root, out, address)
        time.sleep(draw.uniform(0.2, args.every_s))
        if cluster:
            cluster.revive()
        num_kills = sum(counts[k] for k in ("worker", "scheduler", "driver"))
        if num_kills >= args.kills or num_done(out) == ended:
            continue
        ended = num_done(out)  # the next while it works, not while it starts
        what = draw.choice(kinds)
        counts[what] += 1
        _kill_one(what, cluster or driver, draw.randrange(args.nodes), driver)
    if cluster:
        cluster.close()
    return counts | {
        "time_s": round(time.perf_counter() - begin_s),
        "tables that differ": sum(
            (out / name).read_bytes() != (quiet / name).read_bytes() for name in TABLES
        ),
    }


def _kill_one(what: str, of: Cluster | psutil.Popen, index: int, driver: psutil.Popen) -> None:
    """Kill the driver, or a worker or scheduler of a cluster; without one some of its processes."""
    if what == "driver":
        _kill(driver)
    elif not isinstance(of, Cluster):
        for worker in of.children()[: index + 1]:
            worker.kill()
    elif what == "worker":
        of.restart_node(index)
    else:
        of.restart_head()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "kills"))
    parser.add_argument("--engines", nargs="+", default=["local", "dask"], help="of kills: one")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--every-s", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "echoseg-engines"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    root = make_clips(args.work / f"clips{args.clips}", args.clips, args.seed)
    done = {"machine": machine(), "clips": args.clips, "nodes": args.nodes, "seed": args.seed}
    done |= speed(args, root) if args.what == "speed" else kills(args, root)
    print(json.dumps(done, indent=1))
    if args.json:
        args.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
