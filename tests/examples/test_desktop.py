"""The desktop window, driven as a person does, on the model in the box; drawn to no screen."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.mask_picture import read_mask
from sam_edge.photos import photos_in

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets")
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

FILE = Path(__file__).parents[2] / "examples" / "desktop" / "segment_window.py"
PHOTO = photos_in(None)[0]
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("segment_window", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def app():
    return QApplication.instance() or QApplication([])


@pytest.fixture
def window(app, example):
    window = example.Window(sam_edge.load_model())
    window.resize(800, 640)
    window.show()
    yield window
    window.cancel()
    window.close()


def until(app, condition):
    end = time.monotonic() + 60
    while not condition():
        app.processEvents()
        assert time.monotonic() < end, "nothing came"


def on_screen(window, x, y):
    """Where a place of the photo, in shares of its sides, is drawn."""
    frame = window.canvas.frame()
    return QPoint(round(frame.x() + x * frame.width()), round(frame.y() + y * frame.height()))


def opened(app, window):
    window.open(PHOTO)
    assert window.bar.isVisible()
    until(app, lambda: window.embedding is not None)
    assert not window.bar.isVisible()


def test_hover_click_box_undo_and_save(app, window, tmp_path):
    opened(app, window)
    canvas = window.canvas
    QTest.mouseMove(canvas, on_screen(window, 0.4, 0.4))
    until(app, lambda: not canvas.tint.isNull())
    assert window.mask is None  # what is hovered over is not kept

    QTest.mouseClick(canvas, LEFT, pos=on_screen(window, 0.5, 0.5))
    clicked = window.mask
    place = canvas.to_photo(QPointF(on_screen(window, 0.5, 0.5)))
    answer = window.model.decode(window.embedding, [place.toTuple()]).best
    np.testing.assert_array_equal(clicked, answer)

    QTest.mousePress(canvas, LEFT, pos=on_screen(window, 0.2, 0.2))
    QTest.mouseMove(canvas, on_screen(window, 0.7, 0.8))
    QTest.mouseRelease(canvas, LEFT, pos=on_screen(window, 0.7, 0.8))
    assert canvas.prompt.box is not None
    assert not np.array_equal(window.mask, clicked)
    QTest.mouseClick(canvas, Qt.MouseButton.RightButton, pos=on_screen(window, 0.3, 0.3))
    assert (canvas.prompt.labels, len(window.history)) == ((0,), 4)

    window.undo_action.trigger()
    window.undo_action.trigger()
    np.testing.assert_array_equal(window.mask, clicked)
    window.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), clicked)
    window.save(tmp_path / "no folder" / "mask.png")
    assert "no folder" in window.statusBar().currentMessage()
    window.undo_action.trigger()
    assert window.mask is None
    assert not window.undo_action.isEnabled()


def test_cancel_ends_an_encode_and_the_next_one_is_whole(app, window):
    opened(app, window)
    running = threading.active_count()
    window.open(PHOTO)
    window.cancel_action.trigger()
    until(app, lambda: window.statusBar().currentMessage() == "the run was stopped")
    assert window.embedding is None
    until(app, lambda: threading.active_count() <= running)
    opened(app, window)


def test_what_is_no_photo_is_said_and_the_window_stays(app, window, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no photo")
    window.open(tmp_path / "x.jpg")
    until(app, lambda: not window.bar.isVisible())
    assert "x.jpg" in window.statusBar().currentMessage()
    opened(app, window)


def test_the_newest_photo_counts(app, window, tmp_path):
    Image.new("RGB", (90, 60), "navy").save(tmp_path / "small.png")
    window.open(PHOTO)
    window.open(tmp_path / "small.png")
    until(app, lambda: window.embedding is not None)
    assert window.embedding.original_size == (60, 90)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="frozen on Linux so far")
def test_frozen_it_starts_and_encodes_in_a_folder_without_python(tmp_path):
    """In an environment of one engine, PySide6 and PyInstaller; docs/desktop.md has its figures."""
    pytest.importorskip("PyInstaller")
    for file in (FILE, FILE.with_suffix(".spec")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "segment_window.spec"], cwd=tmp_path, check=True
    )
    program = tmp_path / "dist" / "segment_window" / "segment_window"
    assert not list(program.parent.rglob("*torch*"))
    start = time.perf_counter()
    with subprocess.Popen(
        [program, PHOTO],
        stderr=subprocess.PIPE,
        text=True,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)},
    ) as process:
        said = []
        for line in process.stderr:
            said.append((round(time.perf_counter() - start, 2), line.strip()))
            if line.startswith(("Point at", "[PYI", "openvino", "onnxruntime")):
                break
        process.terminate()
    assert said[-1][1].startswith("Point at"), said
