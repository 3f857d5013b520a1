"""A cache is a help, never a condition: without a place for one, work goes on."""

import json
import logging
import shutil
import sys

import numpy as np
import pytest

from sam_edge import load_model
from sam_edge.cache import CacheError, cache_directory, compiled_directory
from sam_edge.cli import main
from sam_edge.errors import DownloadError, JsonFileError, ModelNotFoundError, SamEdgeError
from sam_edge.zoo import pull, resolve
from sam_edge.zoo.table import named_models

posix = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the XDG rules are Linux's")


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("SAM_EDGE_MIRROR", raising=False)


@pytest.fixture
def homeless(monkeypatch):
    """A container's user: no HOME, no entry in passwd."""
    for name in ("SAM_EDGE_CACHE", "XDG_CACHE_HOME", "HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "win32":
        monkeypatch.delenv("HOMEPATH", raising=False)
    else:

        def getpwuid(uid):
            raise KeyError(f"getpwuid(): uid not found: {uid}")

        monkeypatch.setattr("pwd.getpwuid", getpwuid)


def bad_caches(tmp_path):
    """Values of SAM_EDGE_CACHE in which nothing can be kept, for root neither."""
    (tmp_path / "file").write_text("no folder")
    yield str(tmp_path / "file")
    yield str(tmp_path / "file" / "below")
    yield str(tmp_path / ("x" * 300))
    yield "~nobody-of-this-name/cache"
    if sys.platform == "linux":
        yield "/proc/sam-edge"


def test_a_model_opens_without_a_home(homeless, caplog):
    with caplog.at_level(logging.DEBUG, "sam_edge"):
        model = load_model()
        model.encode_image(np.zeros((8, 8, 3), np.uint8))
    assert compiled_directory("ab" * 32) is None
    assert "name a folder in SAM_EDGE_CACHE" in caplog.text


def test_a_model_opens_whatever_the_cache_is(tmp_path, monkeypatch):
    for value in bad_caches(tmp_path):
        monkeypatch.setenv("SAM_EDGE_CACHE", value)
        load_model().encode_image(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(ModelNotFoundError, match="vit_b is not here yet"):
            resolve("vit_b")


def test_what_needs_a_cache_says_how_to_name_one(homeless, tmp_path, monkeypatch, capsys):
    with pytest.raises(ModelNotFoundError, match="vit_b is not here yet"):
        resolve("vit_b")
    assert main(["models", "pull", "vit_b"]) == 1
    assert "name a folder in SAM_EDGE_CACHE" in capsys.readouterr().err
    for value in bad_caches(tmp_path):
        monkeypatch.setenv("SAM_EDGE_CACHE", value)
        with pytest.raises(CacheError, match=r"name a folder .*in SAM_EDGE_CACHE"):
            pull("vit_b")


def test_the_table_is_listed_without_a_home(homeless, capsys):
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.count("not here") == 6
    assert main(["models", "path", "vit_b", "--checkpoint"]) == 1
    assert "not here yet" in capsys.readouterr().err


@posix
@pytest.mark.parametrize("value", ["", "relative/cache", "."])
def test_an_xdg_folder_that_is_not_absolute_is_ignored(value, tmp_path, monkeypatch):
    monkeypatch.delenv("SAM_EDGE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_directory() == tmp_path / ".cache" / "sam-edge"


@posix
def test_an_xdg_folder_that_is_absolute_needs_no_home(homeless, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "sam-edge"


@posix
def test_a_home_that_is_not_absolute_is_no_home(homeless, monkeypatch):
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(CacheError, match="no home"):
        cache_directory()


def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("SAM_EDGE_CACHE", "~/kept")
    assert cache_directory() == tmp_path / "kept"
    shutil.copytree(resolve(), tmp_path / "bundle")
    assert resolve("~/bundle") == tmp_path / "bundle"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nano-",
        "nano-fp32",
        "vit_b-",
        "vit_b-fp16-int8",
        "vit_b-../../secret",
        "vit_b\0",
        "vit_b\x1b[2J\nsam-edge: all is well",
        "~nobody-of-this-name/bundle",
        "-",
        "x" * 100_000,
        "/" * 5000 + "x" * 5000,
    ],
    ids=lambda name: repr(name[:20]),
)
def test_a_name_that_is_none_gets_one_short_line(name):
    with pytest.raises(ModelNotFoundError, match="neither a bundle's folder") as caught:
        load_model(name)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    with pytest.raises(ModelNotFoundError, match="is not a model's name") as caught:
        pull(name)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "mirror",
    ["/media/stick", "media/stick", "file:///media/stick", "ftp://box", "data:,x", "http:"],
)
def test_a_mirror_that_is_no_address_is_named(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    monkeypatch.setenv("SAM_EDGE_MIRROR", mirror)
    with pytest.raises(DownloadError, match=r"^SAM_EDGE_MIRROR: .*http or https"):
        pull("vit_b")
    assert not list(tmp_path.iterdir())


def test_a_mirrors_password_is_in_no_message(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    for mirror in ("https://me:secret@box:port/", "box://me:secret@box/", "http://me:sec ret@box"):
        monkeypatch.setenv("SAM_EDGE_MIRROR", mirror)
        with pytest.raises(DownloadError) as caught:
            pull("vit_b")
        assert "ret" not in str(caught.value)


@pytest.fixture
def table(tmp_path, monkeypatch):
    path = tmp_path / "models.json"
    monkeypatch.setattr("sam_edge.zoo.table.TABLE", path)
    named_models.cache_clear()
    yield path
    named_models.cache_clear()


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", '{"a": 1}', '{"a": {}}', "[" * 100_000, '{"a": NaN}', '{"a": 1' + "0" * 400],
    ids=lambda text: text[:10],
)
def test_a_damaged_table_is_one_line(table, text):
    table.write_text(text)
    with pytest.raises(SamEdgeError) as caught:
        resolve("vit_b")
    assert isinstance(caught.value, JsonFileError)
    assert "models.json" in str(caught.value)


def test_a_table_with_a_byte_order_mark_reads(table):
    row = {"title": "small", "licence": "MIT", "image_size": 64, "encoder": {"tensor": "x"}}
    table.write_text(json.dumps({"tiny": row}), "utf-8-sig")
    assert named_models()["tiny"].title == "small"
