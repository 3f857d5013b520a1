"""Engines do not report to their makers, and nobody else's program is changed by that.

What they would send and write is watched by tests/architecture/test_nothing_is_sent.py.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

needs_onnxruntime = pytest.mark.skipif(not find_spec("onnxruntime"), reason="not installed")
needs_openvino = pytest.mark.skipif(
    not (find_spec("openvino") and find_spec("openvino_telemetry")), reason="not installed"
)


def run(code, **environment):
    """Run code in a process of its own and return what it prints."""
    without = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**without, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@needs_onnxruntime
@pytest.mark.parametrize("door", ["engine_version", "import_engine"])
def test_every_door_switches_onnxruntime_off_before_it_is_imported(door):
    code = f"""
import os, sys
import sam_edge_runtimes
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Spy())
sam_edge_runtimes.{door}("onnxruntime")
"""
    assert run(code) == "1"


@needs_onnxruntime
def test_a_users_own_setting_stays():
    code = """
import os, sam_edge_runtimes
sam_edge_runtimes.import_engine("onnxruntime")
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    assert run(code, ORT_DISABLE_TELEMETRY="0") == "0"


@needs_openvino
def test_openvino_takes_its_own_silent_stand_in():
    code = """
import sys, sam_edge_runtimes
sam_edge_runtimes.import_engine("openvino")
assert "openvino_telemetry" not in sys.modules
from openvino.tools.ovc import telemetry_utils
print(telemetry_utils.tm.__name__)
"""
    assert run(code) == "openvino.tools.ovc.telemetry_stub"


@needs_openvino
def test_other_libraries_import_openvino_telemetry_as_ever():
    code = """
import sam_edge_runtimes
sam_edge_runtimes.import_engine("openvino")
from openvino_telemetry.backend import backend_ga4
import openvino_telemetry
print(openvino_telemetry.Telemetry.__name__)
"""
    assert run(code) == "Telemetry"


@needs_openvino
def test_openvino_telemetry_that_was_imported_before_is_given_back():
    code = """
import sys
import openvino_telemetry as before
import sam_edge_runtimes
sam_edge_runtimes.import_engine("openvino")
import openvino_telemetry as after
print(before is after)
"""
    assert run(code) == "True"


@needs_onnxruntime
def test_an_engine_that_the_program_imported_first_is_told_once_in_a_debug_line():
    code = """
import logging, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
import sam_edge_runtimes
logging.basicConfig(level="DEBUG", stream=sys.stdout, format="%(levelname)s %(message)s")
sam_edge_runtimes.engine_version("onnxruntime")
sam_edge_runtimes.engine_version("onnxruntime")
"""
    assert run(code) == "DEBUG onnxruntime was imported before sam-edge could switch off its " + (
        "telemetry"
    )


@needs_onnxruntime
def test_an_engine_that_sam_edge_imported_needs_no_line():
    code = """
import logging, sys
import sam_edge_runtimes
logging.basicConfig(level="DEBUG", stream=sys.stdout)
for _ in range(2):
    sam_edge_runtimes.engine_version("onnxruntime")
"""
    assert run(code) == ""
