"""Errors survive a process border and belong to one family."""

import pickle

import pytest

import sam_edge.errors
from sam_edge.errors import SamEdgeError


@pytest.mark.parametrize("name", sam_edge.errors.__all__)
def test_errors_cross_process_borders(name):
    error = getattr(sam_edge.errors, name)("model.onnx has sha256 ...")
    assert isinstance(error, SamEdgeError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
