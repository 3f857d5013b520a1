"""The house keeps its shape: what may import what, and what importing costs."""

import subprocess
import sys
from importlib.metadata import requires


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_runtime_imports_without_torch():
    run(
        "import sys; sys.modules['torch'] = None; "
        "import sam_edge, sam_edge.cli.segment, sam_edge.cli.everything, sam_edge.overlay; "
        "import sam_edge.automatic, "
        "sam_edge.zoo, sam_edge_runtimes, sam_edge_runtimes.fake"
    )


def test_importing_sam_edge_loads_no_engine_and_no_pillow():
    loaded = run("import sam_edge, sys; print(*sys.modules)").split()
    heavy = {"onnxruntime", "openvino", "PIL", "torch", "onnx", "urllib.request", "http.client"}
    heavy |= {"starlette", "uvicorn", "asyncio"}
    assert heavy.isdisjoint(loaded)


def test_the_command_line_teaches_without_torch():
    out = run(
        "import sys; sys.modules['torch'] = None\n"
        "from sam_edge.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass"
    )
    for command in ("segment", "info", "everything", "export", "verify", "bench"):
        assert command in out


def test_numpy_and_pillow_are_the_only_hard_dependencies():
    hard = [line for line in requires("sam-edge") or [] if "extra ==" not in line]
    assert sorted(line.split(">")[0] for line in hard) == ["numpy", "pillow"]


def test_torch_comes_with_exporting_and_training_only():
    lines = [line.replace("'", '"') for line in requires("sam-edge") or []]
    extras = [line.split('extra == "')[1] for line in lines if line.startswith("torch")]
    assert set(extras) <= {'export"', 'training"'}
