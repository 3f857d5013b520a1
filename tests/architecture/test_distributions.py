"""What is released: the wheel and the sdist hold what they should, and no more."""

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import sam_edge

pytest.importorskip("hatchling", reason="it builds what is looked at here")

ROOT = Path(__file__).parents[2]
PACKAGES = {"sam_edge", "sam_edge_runtimes", "sam_edge_export", "sam_edge_benchmarks"}


def build(source, target, *options):
    """Build without the network, as hatchling is here already."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target), *options],
        cwd=source,
        check=True,
        capture_output=True,
    )


def content(wheel):
    """The wheel's files and their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(dist):
    (path,) = dist.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in content(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert len(tops) == len(PACKAGES) + 1


def test_the_wheel_holds_every_source_asset_and_type_marker_of_its_packages(wheel):
    sources = {
        path.relative_to(folder.parent).as_posix()
        for folder in (
            ROOT / "sam_edge",
            ROOT / "runtimes" / "sam_edge_runtimes",
            ROOT / "export" / "sam_edge_export",
            ROOT / "benchmarks" / "sam_edge_benchmarks",
        )
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.is_relative_to(ROOT / "sam_edge/server/web")  # only what is built of it
    }
    assert {name for name in content(wheel) if ".dist-info/" not in name} == sources
    assert {
        "sam_edge/py.typed",
        "sam_edge/zoo/models.json",
        "sam_edge/assets/nano/manifest.json",
        "sam_edge/assets/photos/LICENCES.md",
        "sam_edge/server/static/index.html",
        "sam_edge/server/static/licences.txt",
    } <= sources


def test_the_wheel_is_under_13_mb(wheel):
    assert wheel.stat().st_size < 13_000_000


def test_the_wheel_carries_its_licences(wheel):
    licences = {PurePosixPath(name).name for name in content(wheel) if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_wheel_from_the_sdist_is_the_wheel_from_the_tree(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    build(source, tmp_path / "again", "-t", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert content(again) == content(wheel)


def test_the_sdist_is_under_14_mb_and_holds_no_training_weights_logs_or_records(sdist):
    assert sdist.stat().st_size < 14_000_000
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"LICENSE", "NOTICE", "CHANGELOG.md", "Makefile", "tests/conftest.py"} <= set(names)
    left_out = re.compile(
        r"\.safetensors$|\.pth$|\.jsonl$|^export/training/(log/|.*\.json$)"
        r"|^benchmarks/(results/|techniques/.*\.json$)|^\.(venv|ci|github|git/)|^build/|^demo/"
        r"|node_modules/"
    )
    assert [name for name in names if left_out.search(name)] == []


def test_there_is_one_version(metadata):
    assert metadata["Version"] == sam_edge.__version__


def test_a_package_index_finds_every_link_of_the_readme(metadata):
    text = metadata.get_payload()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
