"""A detector of yours as a plug-in: an ONNX YOLO (v5's layout) finds, SAM segments.

Put it into a package whose ``pyproject.toml`` says

    [project.entry-points."sam_edge.detectors"]
    yolo = "yolo_detector:detect"

and then: YOLO=yolov5s.onnx sam-edge segment photo.jpg --detector yolo --overlay over.png
"""

import os
from functools import cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from sam_edge.detections import Detection
from sam_edge.masks import non_maximum_suppression
from sam_edge.prompts import Box

NAMES = os.environ.get("YOLO_NAMES", "person,bicycle,car").split(",")
SURE, SAME = 0.25, 0.45


@cache
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(os.environ["YOLO"])


def detect(image: NDArray[np.uint8]) -> list[Detection]:
    """A photo, (H, W, 3) uint8 RGB, to its boxes."""
    name, side = session().get_inputs()[0].name, session().get_inputs()[0].shape[-1]
    small = np.asarray(Image.fromarray(image).resize((side, side)), np.float32) / 255
    (rows,) = session().run(None, {name: small.transpose(2, 0, 1)[None]})[0]
    scores = rows[:, 4] * rows[:, 5:].max(axis=1)  # centre, size, object, then a column a class
    rows, scores = rows[scores > SURE], scores[scores > SURE]
    scale = np.array([image.shape[1], image.shape[0]] * 2) / side
    corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1)
    kinds = rows[:, 5:].argmax(axis=1)
    return [
        Detection(Box(*(corners[row] * scale)), NAMES[kinds[row]], score=float(scores[row]))
        for row in non_maximum_suppression(corners, scores, SAME)
    ]
