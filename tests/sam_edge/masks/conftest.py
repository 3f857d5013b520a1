import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def official_amg():
    """The official helpers, loaded alone: their package wants torchvision, they do not."""
    pytest.importorskip("torch")
    pytest.importorskip("cv2")
    package = importlib.util.find_spec("segment_anything")
    if package is None:
        pytest.skip("segment-anything is not installed")
    path = Path(package.submodule_search_locations[0]) / "utils" / "amg.py"
    spec = importlib.util.spec_from_file_location("official_amg", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
