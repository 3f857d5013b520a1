"""The same batch on Ray: the same files, whoever dies meanwhile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sam_edge.batch
from tests.sam_edge.batch.drawn import draw_set, tree
from tests.sam_edge.grounding.conftest import BUNDLE

pytest.importorskip("ray.data")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its clusters are of Linux")

ROOT = Path(__file__).parents[3]

# In processes of their own: Ray's warnings are not ours, and what it starts ends with them.
ALONE = """
import json, sys
import sam_edge.batch

def main(photos, out, options):
    outcomes = list(
        sam_edge.batch.iterate(photos, out, prompts=f"{photos}/boxes.csv", engine="ray", **options)
    )
    print(json.dumps([outcome.status for outcome in outcomes]))

main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
"""

TWO_NODES = """
import json, os, signal, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
import sam_edge.batch

def processes(*words):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if any(word in command for word in words):
            yield int(path.parent.name)

def main(photos, out):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    before = set(processes(b"sam_edge.batch.worker_process", b"ray::MapWorker"))
    statuses = []
    lost = []
    for outcome in sam_edge.batch.iterate(
        photos, out, prompts=f"{photos}/boxes.csv", engine="ray"
    ):
        statuses.append(outcome.status)
        if len(statuses) == 4:
            for pid in set(processes(b"sam_edge.batch.worker_process")) - before:
                os.kill(pid, signal.SIGKILL)
                lost.append("worker")
                break
        if len(statuses) == 10:
            for pid in set(processes(b"ray::MapWorker")) - before:
                os.kill(pid, signal.SIGKILL)
                lost.append("actor")
                break
        if len(statuses) == 20:
            cluster.remove_node(other, allow_graceful=False)
            lost.append("machine")
    print(json.dumps([statuses, lost]))
    ray.shutdown()
    cluster.shutdown()

main(*sys.argv[1:])
"""

WORDS_ON_TWO_NODES = """
import json, os, sys
import ray
from ray.cluster_utils import Cluster
import sam_edge.batch

def main(photos, out, words, caches):
    cluster = Cluster()
    for number in "01":  # machines that have nothing yet
        cluster.add_node(num_cpus=1, env_vars={"SAM_EDGE_CACHE": os.path.join(caches, number)})
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    options = json.loads(words)
    outcomes = sam_edge.batch.iterate(photos, out, engine="ray", **options)
    print(json.dumps([outcome.status for outcome in outcomes]))
    ray.shutdown()
    cluster.shutdown()

main(*sys.argv[1:])
"""


def run_script(code, *words, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_ray_on_this_machine_writes_what_one_process_does(shots, tmp_path):
    statuses = run_script(ALONE, shots, tmp_path / "ray", json.dumps({"processes": 1}))
    assert sorted(statuses) == ["done"] * 5 + ["failed"]
    sam_edge.batch.run(shots, tmp_path / "one", prompts=shots / "boxes.csv", processes=1)
    assert tree(tmp_path / "ray") == tree(tmp_path / "one")


@pytest.mark.slow
def test_a_cluster_that_loses_processes_and_a_machine_loses_no_photo(tmp_path):
    photos = draw_set(tmp_path / "photos", 60, bad=(7, 33))
    statuses, lost = run_script(TWO_NODES, photos, tmp_path / "ray")
    assert lost == ["worker", "actor", "machine"]
    # A worker may have died after it wrote: then its photo is kept.
    assert sorted(statuses).count("failed") == 2
    assert len(statuses) == 60
    sam_edge.batch.run(photos, tmp_path / "one", prompts=photos / "boxes.csv", processes=1)
    ours = {name: data for name, data in tree(tmp_path / "ray").items() if "-partial" not in name}
    assert ours == tree(tmp_path / "one")


@pytest.mark.slow
def test_words_reach_machines_that_have_neither_model(tmp_path):
    pytest.importorskip("tokenizers")
    photos = draw_set(tmp_path / "photos", 12)
    words = {"grounder": str(BUNDLE), "text": ["a cat", "the red mug"], "text_threshold": 0.3}
    caches = tmp_path / "caches"
    statuses = run_script(
        WORDS_ON_TWO_NODES, photos, tmp_path / "ray", json.dumps(words), str(caches)
    )
    assert statuses == ["done"] * 12
    bundles = {path.name for path in caches.glob("*/batch/*")}
    assert len(list(caches.glob("*/batch/*"))) == 2 * len(bundles) == 4
    sam_edge.batch.run(photos, tmp_path / "one", processes=1, **words)
    assert tree(tmp_path / "ray") == tree(tmp_path / "one")


def test_the_example_of_a_cluster_is_one_that_ray_takes():
    yaml = pytest.importorskip("yaml")
    util = pytest.importorskip("ray.autoscaler._private.util")
    path = ROOT / "examples" / "ray_cluster.yaml"
    util.validate_config(util.prepare_config(yaml.safe_load(path.read_text(encoding="utf-8"))))
