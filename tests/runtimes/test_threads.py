"""``threads=None`` means the cores that this process may use; between runs they are free."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sam_edge
import sam_edge_runtimes
from sam_edge_runtimes import open_session, threads
from sam_edge_runtimes.threads import cgroup_quota, cores_here, thread_limit, whole_cores
from tests.runtimes.engines import ENGINES

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's limits")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns what makes a machine: its cores' logical processors, what is allowed, its files."""

    def make(cores, allowed=None, files=()):
        online = {number for core in cores for number in core}
        for core in cores:
            for number in core:
                write(
                    f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list",
                    ",".join(map(str, core)) + "\n",
                )
        write("sys/devices/system/cpu/online", ",".join(map(str, sorted(online))) + "\n")
        for name, text in dict(files).items():
            write(name, text)
        monkeypatch.setattr(threads, "_allowed", lambda: frozenset(allowed or online))
        monkeypatch.setattr(os, "process_cpu_count", lambda: len(online), raising=False)
        return tmp_path

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return make


FOUR, FOUR_DOUBLED = [[0], [1], [2], [3]], [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_a_whole_machine_is_left_to_the_engine(machine):
    root = machine(FOUR_DOUBLED)
    assert cores_here(root) == 4
    assert thread_limit(root) is None


@pytest.mark.parametrize(
    ("allowed", "cores"), [({0}, 1), ({0, 4}, 1), ({0, 1}, 2), ({0, 1, 4, 5, 6}, 3)]
)
def test_two_hyper_threads_are_one_core(machine, allowed, cores):
    root = machine(FOUR_DOUBLED, allowed)
    assert cores_here(root) == thread_limit(root) == cores


def test_where_the_kernel_tells_no_topology_every_processor_is_a_core(tmp_path):
    assert whole_cores([0, 1, 5], tmp_path) == 3


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({f"{V2}/cpu.max": "150000 100000\n"}, 1.5),
        ({f"{V2}/cpu.max": "max 100000\n"}, None),
        ({f"{V2}/app/run/cpu.max": "max 100000\n", f"{V2}/app/cpu.max": "200000 100000\n"}, 2.0),
        ({f"{V2}/app/run/cpu.max": "300000 100000\n", f"{V2}/app/cpu.max": "50000 100000\n"}, 0.5),
        ({f"{V2}/unified/app/cpu.max": "50000 100000\n"}, 0.5),
        ({f"{V2}/other/cpu.max": "50000 100000\n"}, None),
        ({f"{V1}/cpu.cfs_quota_us": "250000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 2.5),
        ({f"{V1}/app/cpu.cfs_quota_us": "50000\n", f"{V1}/app/cpu.cfs_period_us": "50000\n"}, 1.0),
        ({f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, None),
        ({f"{V2}/cpu/cpu.cfs_quota_us": "9\n", f"{V2}/cpu/cpu.cfs_period_us": "0\n"}, None),
        ({f"{V2}/cpu.max": "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_the_tightest_control_group_on_the_way_up_counts(machine, files, share):
    root = machine(FOUR, files={"proc/self/cgroup": "4:cpu,cpuacct:/app\n0::/app/run\n", **files})
    assert cgroup_quota(root) == share


def test_in_a_container_the_limit_stands_at_the_top_of_what_is_seen(machine):
    names = "0::/kubepods/pod0123/4567\n"
    root = machine(FOUR, files={"proc/self/cgroup": names, f"{V2}/cpu.max": "100000 100000\n"})
    assert cgroup_quota(root) == 1.0


@pytest.mark.parametrize(
    ("share", "cores", "limit"),
    [("10000", 1, 1), ("100000", 1, 1), ("100001", 2, 2), ("400000", 4, None), ("900000", 4, None)],
)
def test_a_share_of_a_core_is_a_thread(machine, share, cores, limit):
    files = {"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": f"{share} 100000\n"}
    root = machine(FOUR_DOUBLED, files=files)
    assert (cores_here(root), thread_limit(root)) == (cores, limit)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PYTHON_CPU_COUNT came with Python 3.13")
def test_python_cpu_count_is_obeyed(machine, monkeypatch):
    root = machine(FOUR)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3)
    assert cores_here(root) == thread_limit(root) == 3


def test_a_system_without_limits_leaves_the_choice_to_the_engine(monkeypatch):
    monkeypatch.setattr(threads, "_allowed", lambda: None)
    assert thread_limit() is None
    assert cores_here() >= 1


@pytest.mark.parametrize(
    ("asked", "limit", "given"), [(None, 3, 3), (None, None, None), (8, 3, 8), (1, 3, 1)]
)
def test_a_limit_is_given_to_whatever_engine_and_a_wish_wins(
    monkeypatch, tmp_path, asked, limit, given
):
    class Adapter:
        @staticmethod
        def open_graph(path, **options):
            return options["threads"]

    monkeypatch.setattr(sam_edge_runtimes, "choose_engine", lambda engine: engine)
    monkeypatch.setattr(sam_edge_runtimes, "import_engine", lambda engine: None)
    monkeypatch.setattr(sam_edge_runtimes.importlib, "import_module", lambda name: Adapter)
    monkeypatch.setattr(sam_edge_runtimes, "thread_limit", lambda: limit)
    assert open_session("any", tmp_path / "any.onnx", threads=asked) == given


CORES = """
import json, os, sys
from pathlib import Path
if json.loads(sys.argv[3]):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
import sam_edge
model = sam_edge.load_model(runtime=sys.argv[1], threads=json.loads(sys.argv[2]), cache=False)
model.encode_image(np.zeros((8, 8, 3), np.uint8))
tasks = [task / "status" for task in Path("/proc/self/task").iterdir()]
lists = [text.split("Cpus_allowed_list:")[1].split()[0] for text in map(Path.read_text, tasks)]
print(json.dumps(lists))
"""


def cores_of_threads(engine, threads, keep_to_one_core):
    """Return which cores each thread of a process may use that has encoded a photo."""
    words = map(json.dumps, (threads, keep_to_one_core))
    return json.loads(
        subprocess.run(
            [sys.executable, "-c", CORES, engine, *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        ).stdout
    )


@LINUX
@pytest.mark.parametrize("engine", ENGINES)
def test_kept_to_one_core_an_engine_works_with_one_thread_and_stays_there(engine):
    by_itself, told = (cores_of_threads(engine, wish, True) for wish in (None, 1))
    assert len(by_itself) == len(told)  # engines have threads that do not compute, too
    assert len(set(by_itself)) == 1
    assert set(by_itself) == {str(min(os.sched_getaffinity(0)))}


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_rest_between_runs(engine):
    """Those of one graph that wait awake for its next run would slow the other graph down."""
    encoder = sam_edge.load_model(runtime=engine, threads=2).sessions["image_encoder"]
    image = np.zeros((1, 3, 384, 384), np.float32)
    encoder.run({"image": image})
    idle = []
    for _ in range(4):
        encoder.run({"image": image})
        before = time.process_time()
        time.sleep(0.1)
        idle.append(time.process_time() - before)
    assert min(idle) < 0.01


@LINUX
@pytest.mark.parametrize("engine", ENGINES)
def test_threads_are_kept_to_no_core(engine):
    """Two processes that each keep theirs to the first core take turns on it."""
    here = Path("/proc/self/status").read_text().split("Cpus_allowed_list:")[1].split()[0]
    assert set(cores_of_threads(engine, 2, False)) == {here}
