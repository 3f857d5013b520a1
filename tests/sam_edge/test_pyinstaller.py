"""What PyInstaller is told is true: it finds hooks, which name modules and files that are there."""

import runpy
import sys
import types
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import sam_edge
import sam_edge_runtimes
from sam_edge._pyinstaller import hook_directories


def hook(name):
    (folder,) = hook_directories()
    return runpy.run_path(str(Path(folder) / f"hook-{name}.py"))


def test_pyinstaller_finds_the_hooks():
    (entry,) = (
        each for each in entry_points(group="pyinstaller40") if each.value.startswith("sam_edge.")
    )
    assert entry.name == "hook-dirs"
    assert entry.load() is hook_directories


def test_every_public_name_and_installed_engine_is_taken_along(monkeypatch):
    taken = {}
    hooks = types.ModuleType("PyInstaller.utils.hooks")
    hooks.collect_data_files = lambda package, includes: taken.setdefault(package, includes)
    libraries = ["libopenvino_intel_cpu_plugin.so", "libopenvino_intel_gpu_plugin.so"]
    hooks.collect_dynamic_libs = lambda *_, **__: [(name, "openvino/libs") for name in libraries]
    for name in ("PyInstaller", "PyInstaller.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, hooks.__name__, hooks)
    runtimes = hook("sam_edge_runtimes")
    modules = hook("sam_edge")["hiddenimports"] + runtimes["hiddenimports"]
    assert {f"sam_edge.{home}" for home in sam_edge._HOMES.values()} <= {*modules}
    for engine in sam_edge_runtimes.ENGINES:
        assert (f"sam_edge_runtimes.{engine}" in modules) == (find_spec(engine) is not None)
    assert all(find_spec(module) for module in modules)
    package = Path(sam_edge.__file__).parent
    assert all(list(package.glob(pattern)) for pattern in taken["sam_edge"])
    cpu = [(libraries[0], "openvino/libs")]
    assert runtimes["binaries"] == (cpu if find_spec("openvino") else [])
