"""Bundles from checkpoints with numpy alone: the exporter's graphs, filled with weights."""
