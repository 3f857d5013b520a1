"""labelme's own window, drawn to no screen: its AI tools with a model of ours."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("osam")
pytest.importorskip("labelme._ai_models", reason="needs labelme 7.3 or newer", exc_type=ImportError)

from labelme import __version__ as labelme_version

from sam_edge.adapters.labelme import add_to_labelme
from sam_edge.masks import decode_rle

WINDOW = """
import sys
import numpy as np
import sam_edge
from PySide6 import QtWidgets
from PySide6.QtCore import QPointF
from labelme import __version__ as labelme_version

from sam_edge.adapters.labelme import add_to_labelme

title = add_to_labelme(sam_edge.load_model())
from labelme._app import MainWindow

app = QtWidgets.QApplication([])
window = MainWindow(config_overrides={"ai": {"default": title}}, file_or_dir=sys.argv[1])
canvas = window._canvas_widgets.canvas
while canvas.pixmap is None or canvas.pixmap.isNull():
    app.processEvents()
assert window._ai_annotation.current_model_id == "sam-edge:nano"
canvas.set_ai_output_format("mask")
corners = [QPointF(60, 20), QPointF(420, 280)]
proposal = canvas._propose_ai_shapes(prompt_kind="box", points=corners, point_labels=[2, 3])
(shape,) = proposal.new_shapes
np.savez(sys.argv[2], mask=shape.mask, corner=shape.points[0])
"""


def test_its_window_offers_the_model_and_draws_the_mask_that_sam_edge_gives(path, masks, tmp_path):
    out = tmp_path / "shape.npz"
    done = subprocess.run(
        [sys.executable, "-c", WINDOW, str(path), str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shape = np.load(out)
    seen = np.zeros(masks[0].size, np.bool_)
    left, top = np.floor(shape["corner"]).astype(int)
    rows, columns = shape["mask"].shape
    seen[top : top + rows, left : left + columns] = shape["mask"]
    np.testing.assert_array_equal(seen, decode_rle(masks[0].rle))


def test_a_model_that_is_added_again_is_listed_once(model):
    from labelme import _ai_models

    title = add_to_labelme(model)
    assert add_to_labelme(model) == title
    names = [option.display_name for option in _ai_models.AI_ASSIST_MODEL_OPTIONS]
    assert names[0] == title
    assert names.count(title) == 1


def test_the_command_starts_labelme_with_what_is_labelmes(tmp_path):
    command = [sys.executable, "-m", "sam_edge.adapters.labelme"]
    where = {"capture_output": True, "text": True, "env": os.environ | {"HOME": str(tmp_path)}}
    done = subprocess.run([*command, "--version"], **where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Labelme", labelme_version]
    absent = subprocess.run([*command, "--model", "no_such"], **where)
    assert absent.returncode == 1
    assert absent.stderr.startswith("error: no_such is neither")
