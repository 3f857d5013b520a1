"""A window that segments: open a photo, point at an object, click or drag a box, save the mask.

    pip install 'sam-edge[cpu]' PySide6-Essentials
    python segment_window.py [PHOTO] [--model BUNDLE] [--runtime openvino]

Left click: on the object; right click: not on it; drag: a box. Encoding has a thread of its own, as
it may take seconds; a prompt is decoded in milliseconds, in the thread that draws.
"""

import argparse
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeySequence, QMouseEvent, QPainter
from PySide6.QtWidgets import QApplication, QFileDialog, QMainWindow, QProgressBar, QWidget

import sam_edge
from sam_edge.errors import SamEdgeError
from sam_edge.files import written
from sam_edge.image import read_image
from sam_edge.mask_picture import mask_picture
from sam_edge_runtimes.stopping import Stop

DRAG = 6.0
"""A box is a drag of more than so many pixels of the window."""


@dataclass(frozen=True)
class Asked:
    """A prompt, in the photo's pixels."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def with_point(self, point: QPointF, label: int) -> "Asked":
        return Asked((*self.points, (point.x(), point.y())), (*self.labels, label), self.box)


class Canvas(QWidget):
    """The photo, a mask and its prompt over it; tells what the mouse asks for."""

    hovered = Signal(object)
    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__(mouseTracking=True)
        self.photo, self.tint, self.prompt = QImage(), QImage(), Asked()
        self._pressed: QPointF | None = None
        self._drag = QRectF()

    def frame(self) -> QRectF:
        size = self.photo.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        frame = QRectF(0, 0, size.width(), size.height())
        frame.moveCenter(QRectF(self.rect()).center())
        return frame

    def _over_photo(self, at: QPointF) -> bool:
        return not self.photo.isNull() and self.frame().contains(at)

    def to_photo(self, at: QPointF) -> QPointF:
        frame, width, height = self.frame(), self.photo.width(), self.photo.height()
        at = (at - frame.topLeft()) * (width / frame.width())
        return QPointF(min(max(at.x(), 0.0), width - 1.0), min(max(at.y(), 0.0), height - 1.0))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        self._pressed = None if self.photo.isNull() else event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self._pressed is not None:
            self._drag = QRectF(self._pressed, event.position()).normalized()
            self.update()
        elif self.prompt == Asked() and self._over_photo(event.position()):
            self.hovered.emit(Asked().with_point(self.to_photo(event.position()), 1))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        start, end, self._pressed, self._drag = self._pressed, event.position(), None, QRectF()
        if start is None:
            return
        if (end - start).manhattanLength() > DRAG:
            box = QRectF(self.to_photo(start), self.to_photo(end)).normalized()
            if not box.isEmpty():
                self.asked.emit(Asked(box=box.getCoords()))
        elif self._over_photo(start):
            label = int(event.button() == Qt.MouseButton.LeftButton)
            self.asked.emit(self.prompt.with_point(self.to_photo(start), label))
        self.update()

    def paintEvent(self, _: object) -> None:  # noqa: N802
        if self.photo.isNull():
            return
        painter, frame = QPainter(self), self.frame()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(frame, self.photo)
        painter.drawImage(frame, self.tint)
        painter.setPen(QColor("white"))
        painter.drawRect(self._drag)
        painter.translate(frame.topLeft())
        scale = frame.width() / self.photo.width()
        if self.prompt.box is not None:
            x0, y0, x1, y1 = (scale * side for side in self.prompt.box)
            painter.drawRect(QRectF(QPointF(x0, y0), QPointF(x1, y1)))
        for (x, y), label in zip(self.prompt.points, self.prompt.labels, strict=True):
            painter.setBrush(QColor("limegreen" if label else "crimson"))
            painter.drawEllipse(QPointF(scale * x, scale * y), 5, 5)


class Window(QMainWindow):
    """Opens photos, decodes what is asked, saves masks."""

    # Of the encode with this Stop. Emitted in its thread; Qt brings them to the window's.
    stage = Signal(object, str)
    done = Signal(object, str, object, object)

    def __init__(self, model: sam_edge.Model) -> None:
        super().__init__(windowTitle="sam-edge")
        self.model, self.path = model, Path()
        self.stop: Stop | None = None
        self.embedding: sam_edge.ImageEmbedding | None = None
        self.history: list[Asked] = [Asked()]  # the last one counts; undo takes it away
        self.mask: NDArray[np.bool_] | None = None
        self.canvas = Canvas()
        self.setCentralWidget(self.canvas)
        self.canvas.hovered.connect(self._draw)
        self.canvas.asked.connect(self._ask)
        self.stage.connect(lambda stop, stage: self._tell(stop, f"{stage} {self.path.name}"))
        self.done.connect(self._done)
        tools = self.addToolBar("tools")
        tools.addAction("Open", QKeySequence.StandardKey.Open, self.choose)
        self.cancel_action = tools.addAction("Cancel", Qt.Key.Key_Escape, self.cancel)
        self.undo_action = tools.addAction("Undo", QKeySequence.StandardKey.Undo, self.undo)
        self.save_action = tools.addAction("Save", QKeySequence.StandardKey.Save, self.choose_file)
        # It moves and shows no share: engines do not say how far they are inside a graph.
        self.bar = QProgressBar(maximum=0, maximumWidth=160)
        self.statusBar().addPermanentWidget(self.bar)
        self._tell(None, "Open a photo")

    def open(self, path: Path) -> None:
        """Encode a photo; an encode that still runs is cancelled."""
        self.cancel()
        self.path, self.stop, self.embedding, self.mask = path, Stop(), None, None
        self.history = [Asked()]
        self.canvas.photo, self.canvas.tint, self.canvas.prompt = QImage(), QImage(), Asked()
        threading.Thread(target=self._encode, args=(path, self.stop), daemon=True).start()
        self._tell(self.stop, f"reading {path.name}")

    def cancel(self) -> None:
        if self.stop is not None:
            self.stop.ask()

    def _encode(self, path: Path, stop: Stop) -> None:
        """Runs in a thread of its own."""
        try:
            pixels = read_image(path)
            embedding = self.model.encode_image(pixels, partial(self.stage.emit, stop), stop)
            self.done.emit(stop, "Point at an object, click it, or drag a box", pixels, embedding)
        except SamEdgeError as error:  # RunStoppedError, too; one line, fit to be shown
            self.done.emit(stop, str(error), None, None)

    def _done(self, stop: Stop, message: str, pixels: object, embedding: object) -> None:
        if stop is self.stop:  # not of a photo that another one took the place of
            self.stop, self.embedding = None, embedding
            if embedding is not None:
                self.canvas.photo = _image(pixels, QImage.Format.Format_RGB888)
            self._tell(None, message)

    def _tell(self, stop: Stop | None, message: str) -> None:
        """Show a message of the encode that runs, or of none."""
        if stop is not self.stop:
            return
        self.statusBar().showMessage(message)
        print(message, file=sys.stderr, flush=True)
        self.bar.setVisible(stop is not None)
        self.cancel_action.setEnabled(stop is not None)
        self.undo_action.setEnabled(len(self.history) > 1)
        self.save_action.setEnabled(self.mask is not None)
        self.canvas.update()

    def _ask(self, asked: Asked) -> None:
        self._answer([*self.history, asked])

    def undo(self) -> None:
        self._answer(self.history[:-1] or [Asked()])

    def _answer(self, history: list[Asked]) -> None:
        self.history, asked = history, history[-1]
        self.canvas.prompt = asked
        self.canvas.tint, self.mask = QImage(), None
        if asked != Asked():
            self.mask = self._draw(asked)
        self._tell(None, f"{self.path.name}: prompt {len(self.history) - 1}")

    def _draw(self, asked: Asked) -> NDArray[np.bool_]:
        alone = len(asked.points) == 1 and asked.box is None  # a part, the whole or a group?
        points, labels = asked.points or None, asked.labels or None
        mask = self.model.decode(self.embedding, points, labels, asked.box, multimask=alone).best
        tint = mask[:, :, None] * np.array([30, 144, 255, 140], np.uint8)
        self.canvas.tint = _image(tint, QImage.Format.Format_RGBA8888)
        self.canvas.update()
        return mask

    def save(self, path: Path) -> None:
        try:
            with written(path) as file:
                mask_picture(self.mask).save(file, "PNG")
            self._tell(None, f"saved {path.name}")
        except SamEdgeError as error:
            self._tell(None, str(error))

    def choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a photo")
        if name:
            self.open(Path(name))

    def choose_file(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the mask", f"{self.path.stem}-mask.png")
        if name:
            self.save(Path(name))


def _image(pixels: NDArray[np.uint8], kind: QImage.Format) -> QImage:
    height, width, channels = pixels.shape
    return QImage(pixels.tobytes(), width, height, channels * width, kind).copy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--model", help="a bundle's folder; the model in the box if left out")
    parser.add_argument("--runtime", default="auto")
    arguments = parser.parse_args()
    app = QApplication(sys.argv[:1])
    window = Window(sam_edge.load_model(arguments.model, arguments.runtime))
    app.aboutToQuit.connect(window.cancel)
    window.resize(960, 720)
    window.show()
    if arguments.photo is not None:
        window.open(arguments.photo)
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
