"""Where the cache is on each system, unless the user says."""

import sys
from pathlib import Path

import pytest

from sam_edge.cache import cache_directory


@pytest.mark.skipif(sys.platform == "win32", reason="HOME is another system's")
@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "home/.cache/sam-edge"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/sam-edge"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches/sam-edge"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/sam-edge/cache"),
        ("win32", {}, "home/sam-edge/cache"),
        ("win32", {"SAM_EDGE_CACHE": "mine"}, "mine"),
    ],
)
def test_it_is_where_the_system_keeps_caches(monkeypatch, tmp_path, platform, variables, folder):
    for name in ("SAM_EDGE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "home", **variables}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_directory() == Path(tmp_path) / folder
