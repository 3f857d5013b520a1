"""From a Segment Anything checkpoint to a verified bundle. This is where torch lives."""

from sam_edge_runtimes import switch_off_telemetry

switch_off_telemetry()  # onnxslim and torch's exporter import ONNX Runtime by themselves
