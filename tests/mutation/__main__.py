"""Change the code a little, many times, and count how often a test notices: ``make mutants``.

mutmut makes the changes, knows which tests run which function, and runs those of a mutant in a
forked process until one fails; ``[tool.mutmut]`` in ``pyproject.toml`` says what it leaves alone.
Here is what it lacks: a flat copy of our two packages, which it can import, and a seeded sample of
every file, as all 12,000 mutants would take a day.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGE = ROOT / "build" / "mutants"
RESULTS = Path(__file__).parent / "results.json"
PACKAGES = {"sam_edge": ROOT / "sam_edge", "sam_edge_runtimes": ROOT / "runtimes/sam_edge_runtimes"}
READ = ("tests", "docs", "examples")
"""What tests read beside the packages; ``also_copy`` in ``pyproject.toml`` takes it along."""

NOTICED = ("killed", "timeout")
# Exit codes of pytest, of mutmut and of signals. 2 is a test file that the mutant keeps from being
# imported. What is not listed, a crash, is not counted as noticed.
STATUS = {0: "survived", 1: "killed", 2: "killed", 3: "killed", 33: "no tests", -24: "timeout"}


def stage(again):
    """Lay the packages and what their tests read side by side, as in site-packages."""
    if not again:
        shutil.rmtree(STAGE, ignore_errors=True)
    for stale in (*PACKAGES, *READ, "export", *(f"mutants/{name}" for name in READ)):
        shutil.rmtree(STAGE / stale, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__")
    for name, home in PACKAGES.items():
        shutil.copytree(home, STAGE / name, ignore=skip)
    for name in READ:
        shutil.copytree(ROOT / name, STAGE / name, ignore=skip)
    (STAGE / "export/training").mkdir(parents=True)
    shutil.copy(ROOT / "export/training/nano.safetensors", STAGE / "export/training")
    shutil.copy(ROOT / "pyproject.toml", STAGE)
    here = Path(__file__).parent
    shutil.copy(here / "quickest_first.py", STAGE / "conftest.py")
    shutil.copy(here / "doctests.py", STAGE / "tests/sam_edge/test_doctests.py")


def mutants():
    """Every mutant's name, by its file."""
    from mutmut.configuration import config
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    names = {}
    for package in PACKAGES:
        for path in filter(config().should_mutate, sorted(Path(package).rglob("*.py"))):
            mutated = mutate_file_contents(str(path), path.read_text("utf-8"))
            names[str(path)] = [get_mutant_name(path, name) for name in mutated.mutant_names]
    return {path: found for path, found in names.items() if found}


def sample(names, seed, share, least):
    """A share of each file's mutants, and no fewer than ``least`` where there are as many."""
    return {
        path: random.Random(f"{seed} {path}").sample(
            found, min(len(found), max(least, round(share * len(found))))
        )
        for path, found in names.items()
    }


def outcomes(paths):
    """What became of the mutants that were run, in any run on this stage: name -> status."""
    found = {}
    for path in paths:
        meta = Path("mutants", f"{path}.meta")
        if meta.exists():
            for name, code in json.loads(meta.read_text("utf-8"))["exit_code_by_key"].items():
                if code is not None:
                    found[name] = STATUS.get(code, "crashed")
    return found


def count(names, chosen, became):
    """Count a sample's outcomes by file, and estimate what all mutants would give.

    Small files have a larger share of the sample than of the code: the estimate weighs each file's
    share of noticed mutants by how many it has.
    """
    files, noticed = {}, {}
    for path, picked in chosen.items():
        files[path] = {"mutants": len(names[path])} | Counter(became[name] for name in picked)
        noticed[path] = sum(files[path].get(status, 0) for status in NOTICED)
    weights = {path: len(names[path]) / len(picked) for path, picked in chosen.items()}
    every, tried = sum(map(len, names.values())), sum(map(len, chosen.values()))
    return {
        "mutants": every,
        "sample": tried,
        **Counter(became[name] for picked in chosen.values() for name in picked),
        "score": round(sum(noticed.values()) / tried, 4),
        "estimate": round(sum(noticed[path] * weights[path] for path in noticed) / every, 4),
        "files": files,
    }


def record(run):
    """Keep a run's counts in place of those of the same seed."""
    runs = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
    runs = [other for other in runs if other["seed"] != run["seed"]]
    runs = sorted([*runs, run], key=lambda each: each["seed"])
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")


def show(became):
    """Write the changes that no test noticed, for a person."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    with Path("survivors.txt").open("w", encoding="utf-8") as file:
        for name, status in became.items():
            if status not in NOTICED:
                file.write(f"# {name}: {status}\n{get_diff_for_mutant(name)}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--share", type=float, default=0.03)
    parser.add_argument("--least", type=int, default=4)
    parser.add_argument("--only", default="", help="files whose path has this in it")
    parser.add_argument("--again", action="store_true", help="run only what nothing has noticed")
    arguments = parser.parse_args()
    stage(arguments.again)
    os.chdir(STAGE)
    names = {path: found for path, found in mutants().items() if arguments.only in path}
    samples = {
        seed: sample(names, seed, arguments.share, arguments.least) for seed in arguments.seed
    }
    wanted = {name for chosen in samples.values() for picked in chosen.values() for name in picked}
    before = outcomes(names) if arguments.again else {}
    run = sorted(name for name in wanted if before.get(name) not in NOTICED)
    mutmut = Path(sys.executable).with_name("mutmut")
    command = [mutmut, "run", "--max-children", str(os.cpu_count()), *run]
    if run and subprocess.run(command).returncode:
        sys.exit("mutmut could not run: see above")
    became = outcomes(names)
    show({name: status for name, status in became.items() if name in wanted})
    for seed, chosen in samples.items():
        settings = {"share": arguments.share, "least": arguments.least, "seed": seed}
        counts = count(names, chosen, became)
        if not arguments.only:
            record({"tool": f"mutmut {version('mutmut')}", **settings, **counts})
        print(f"seed {seed}: {counts['score']:.1%} of {counts['sample']} were noticed")
    print(f"what nothing noticed: {STAGE / 'survivors.txt'}")


if __name__ == "__main__":
    main()
