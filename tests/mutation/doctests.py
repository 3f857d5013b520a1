"""The docstrings' examples, which mutmut's copies of functions hide from pytest's own collector."""

import doctest
import importlib
import pkgutil

import pytest

import sam_edge
import sam_edge_runtimes


def examples():
    for package in (sam_edge, sam_edge_runtimes):
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        for name in (package.__name__, *(module.name for module in found)):
            # The first two act when they are imported, hooks need what they are for.
            if name.endswith((".__main__", ".start")) or "._pyinstaller." in name:
                continue
            for test in doctest.DocTestFinder().find(importlib.import_module(name)):
                # The example calls the function by its name: whichever mutant that is now.
                if test.examples and ("__mutmut_" not in test.name or "__mutmut_orig" in test.name):
                    yield test


@pytest.mark.parametrize("test", [*examples()], ids=lambda test: test.name)
def test_the_example_is_true(test):
    assert doctest.DocTestRunner().run(test).failed == 0
