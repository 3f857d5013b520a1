"""Where torchvision cannot be installed, the official code runs on the benchmark's stand-ins."""

import contextlib
import sys

from sam_edge_benchmarks.subjects.standins import install_torchvision

install = install_torchvision


@contextlib.contextmanager
def hidden():
    """Take the stand-ins away while something is imported that would ask more of them."""
    ours = {
        name: module
        for name, module in sys.modules.items()
        if name.split(".")[0] in ("torchvision", "timm") and not hasattr(module, "__file__")
    }
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(ours)
