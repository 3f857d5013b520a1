import hashlib
import json
import random
import shutil

import pytest

from sam_edge import load_model
from sam_edge.cache import cache_directory
from sam_edge.cli import main
from sam_edge.cli.console import TransferBar
from sam_edge.errors import ChecksumError, ModelNotFoundError
from sam_edge.zoo import pull, resolve
from sam_edge.zoo.cache import bundle_path, checkpoint_path
from sam_edge.zoo.table import named_models
from tests.sam_edge.zoo.server import Behaviour, serving

CONTENT = random.Random(2).randbytes(10_000)
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SAM_EDGE_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of two small files, each with its own official address."""
    row = {"title": "small", "licence": "MIT", "image_size": 64, "encoder": {"tensor": "x"}}
    row["size"] = len(CONTENT)
    rows = {
        "tiny": {**row, "url": f"{NOBODY}/tiny.pth", "sha256": hashlib.sha256(CONTENT).hexdigest()},
        "unhashed": {**row, "url": f"{NOBODY}/unhashed.pth", "sha256": None},
    }
    path = tmp_path / "models.json"
    path.write_text(json.dumps(rows))
    monkeypatch.setattr("sam_edge.zoo.table.TABLE", path)
    named_models.cache_clear()
    yield rows
    named_models.cache_clear()


def test_the_table_knows_every_official_file():
    table = named_models()
    assert list(table) == ["nano", "mobile_sam", "vit_b", "vit_l", "vit_h"]
    assert table["nano"].checkpoint is None
    for model in list(table.values())[1:]:
        assert model.licence == "Apache-2.0"
        assert len(bytes.fromhex(model.checkpoint.sha256)) == 32
        assert model.checkpoint.url.startswith("https://")


def test_the_mirror_is_asked_instead_of_the_official_source(table, monkeypatch):
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as address:
        monkeypatch.setenv("SAM_EDGE_MIRROR", f"{address}/sam/")
        path = pull("tiny")
    assert path.read_bytes() == CONTENT
    assert path.parent.name == hashlib.sha256(CONTENT).hexdigest()
    assert len(behaviour.requests) == 1
    monkeypatch.setenv("SAM_EDGE_MIRROR", NOBODY)
    assert pull("tiny") == path


def test_the_mirror_is_not_trusted(table, monkeypatch):
    with serving(Behaviour(bytes(len(CONTENT)))) as address:
        monkeypatch.setenv("SAM_EDGE_MIRROR", address)
        with pytest.raises(ChecksumError):
            pull("tiny")


def test_without_a_hash_there_is_no_mirror(table, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_MIRROR", NOBODY)
    with pytest.raises(ModelNotFoundError, match="no published sha256"):
        pull("unhashed")


def test_the_box_needs_no_name_and_has_one():
    assert resolve() == resolve("nano")
    assert load_model("nano").spec.variant == "nano"


def test_a_name_finds_its_exports_and_float32_first(cache):
    for precision in ("fp16", "fp32"):
        shutil.copytree(resolve(), bundle_path("vit_b", precision))
        assert resolve("vit_b") == bundle_path("vit_b", precision)
    assert resolve("vit_b-fp16") == cache / "bundles" / "vit_b-fp16"
    assert load_model("vit_b").spec.variant == "nano"  # it is a copy of the box


def test_a_folder_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(resolve(), tmp_path / "vit_b")
    assert resolve("vit_b").resolve() == tmp_path / "vit_b"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_b", r"sam-edge models pull vit_b$"),
        ("vit_b-fp16", r"sam-edge models pull vit_b --precision fp16$"),
        ("vit_b-int8-512", r"sam-edge models pull vit_b --precision int8 --image-size 512$"),
        ("vit_b-bf16", r"neither a bundle's folder nor one of nano, mobile_sam, vit_b"),
        ("vit_g", r"neither a bundle's folder nor one of nano, mobile_sam, vit_b"),
    ],
)
def test_what_is_not_here_says_how_to_get_it(name, message):
    with pytest.raises(ModelNotFoundError, match=message):
        load_model(name)


def test_list_says_what_is_here(table, capsys, monkeypatch):
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.count("not here") == 4
    with serving(Behaviour(CONTENT)) as address:
        monkeypatch.setenv("SAM_EDGE_MIRROR", address)
        assert main(["models", "pull", "tiny", "--checkpoint"]) == 0
    path = capsys.readouterr().out.strip()
    assert path == str(checkpoint_path(named_models()["tiny"].checkpoint))
    assert main(["models", "list", "--json"]) == 0
    tiny, unhashed, *_ = json.loads(capsys.readouterr().out)
    assert tiny["checkpoint"] == path
    assert unhashed["checkpoint"] is None
    assert main(["models", "path", "tiny", "--checkpoint"]) == 0
    assert capsys.readouterr().out.strip() == path


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["path", "vit_b"], 1, "sam-edge models pull vit_b"),
        (["path", "vit_b", "--checkpoint"], 1, "sam-edge models pull vit_b --checkpoint"),
        (["path", "nano", "--checkpoint"], 2, "leave out --checkpoint"),
        (["pull", "sam3"], 1, "'sam3' is not a model's name; expected one of nano, mobile_sam"),
        (["pull", "nano"], 0, "nano comes with the package"),
    ],
)
def test_one_line_says_what_to_do(words, code, message, capsys):
    assert main(["models", *words]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_the_bar_says_rate_and_rest():
    bar = TransferBar()
    bar(100_000_000, 400_000_000)  # of which nothing came in this run
    text = bar.text(200_000_000, 400_000_000, bar._began + 10)
    assert text.endswith("200/400 MB  10.0 MB/s  20 s left")
    assert text.startswith("█" * 15 + "░" * 15)


def test_the_cache_moves_with_its_variable(cache, monkeypatch):
    assert cache_directory() == cache
    monkeypatch.delenv("SAM_EDGE_CACHE")
    assert cache_directory().name in ("sam-edge", "cache")
