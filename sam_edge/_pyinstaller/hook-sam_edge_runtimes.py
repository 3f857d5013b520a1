"""The engines' adapters, with the engines that are installed where the program is frozen."""

from importlib.util import find_spec
from pathlib import Path

from PyInstaller.utils.hooks import collect_dynamic_libs

from sam_edge_runtimes import ENGINES

installed = [name for name in ENGINES if find_spec(name) is not None]
hiddenimports = [f"sam_edge_runtimes.{name}" for name in installed]

# OpenVINO opens these by name when it needs them: the CPU's plug-in, the readers of ONNX and of
# what the cache holds, and its threads. Those of other devices and formats are not for sam-edge.
PLUGINS = (
    "openvino_intel_cpu_plugin",
    "openvino_onnx_frontend",
    "openvino_ir_frontend",
    "tbb",
)
binaries = (
    [
        (file, folder)
        for file, folder in collect_dynamic_libs(
            "openvino", search_patterns=["*.dll", "*.dylib", "*.so*"]
        )
        if any(plugin in Path(file).name for plugin in PLUGINS)
    ]
    if "openvino" in installed
    else []
)
