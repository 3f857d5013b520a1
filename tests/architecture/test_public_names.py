"""Public names are computed, not remembered: what is there, what is said, what is documented."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sam_edge

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / "examples").glob("*.py"),
]


def fresh(code):
    """Run code in a process that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()


def public(names):
    return sorted(name for name in names if not name.startswith("_"))


def resolve(path):
    """Return what a dotted path names, importing modules as a reader of the page would."""
    module, *names = path.split(".")
    value = import_module(module)
    for name in names:
        module = f"{module}.{name}"
        value = getattr(value, name, None) or import_module(module)
    return value


def seen_by_type_checkers():
    """Names and their modules, which ``sam_edge`` imports for type checkers alone."""
    tree = ast.parse(inspect.getsource(sam_edge))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: statement.module for statement in block.body for alias in statement.names}


def test_what_a_plain_import_offers_is_all_and_a_few_modules():
    offered = fresh("import sam_edge; print(*dir(sam_edge))")
    assert public(offered) == sorted({*sam_edge.__all__, *sam_edge._MODULES})


def test_all_is_sorted_and_every_name_comes_from_its_home():
    assert sam_edge.__all__ == sorted(sam_edge._HOMES)
    homes = {name: f"sam_edge.{home}" for name, home in sam_edge._HOMES.items()}
    assert seen_by_type_checkers() == homes | dict.fromkeys(sam_edge._MODULES, "sam_edge")
    for name, home in sam_edge._HOMES.items():
        value = getattr(sam_edge, name)
        assert value is getattr(import_module(f"sam_edge.{home}"), name)
        # Pickles and doctests look there; nothing is passed on from a third place.
        assert getattr(value, "__module__", home).split(".", 1)[-1] == home


def test_a_name_that_is_not_public_is_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'torch'"):
        _ = sam_edge.torch


@pytest.mark.parametrize("package", ["sam_edge.errors", "sam_edge.formats", "sam_edge.masks"])
def test_what_a_package_holds_is_its_all(package):
    module = import_module(package)
    held = {
        name
        for name, value in vars(module).items()
        if not inspect.ismodule(value) and name != "annotations"
    }
    assert public(held) == sorted(module.__all__)


def test_modules_that_scripts_name_are_there_after_a_plain_import():
    for name in sam_edge._MODULES:
        (found,) = fresh(f"import sam_edge; print(sam_edge.{name}.__name__)")
        assert found == f"sam_edge.{name}"


def test_every_public_name_is_documented():
    described = set(re.findall(r"^::: ([\w.]+)$", API, re.MULTILINE))
    for name, home in sam_edge._HOMES.items():
        assert {f"sam_edge.{name}", f"sam_edge.{home}"} & described, name
        if inspect.isclass(value := getattr(sam_edge, name)) or callable(value):
            assert value.__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_on_a_page_is_there(page):
    text = page.read_text(encoding="utf-8")
    for path in set(re.findall(r"(?<![\w/.-])sam_edge(?:\.[A-Za-z_]\w*)+", text)):
        assert resolve(path) is not None, path
    for module, names in re.findall(
        r"^from (sam_edge[\w.]*) import ([\w, ]+)$", text, re.MULTILINE
    ):
        if not module.startswith("sam_edge_"):
            for name in names.split(", "):
                assert resolve(f"{module}.{name.split(' as ')[0]}") is not None
