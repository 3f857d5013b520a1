"""Detectors of anybody's, by name: packages bring them by the entry point ``sam_edge.detectors``.

An entry is a function that takes a photo, ``(H, W, 3)`` uint8 RGB, and returns its boxes::

    def detect(image):
        return [Detection(Box(10, 20, 200, 220), "cup", score=0.9)]

``examples/yolo_detector.py`` wraps an ONNX file in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

from sam_edge.detections import Detection, DetectionError
from sam_edge.errors import ArgumentError, SamEdgeError
from sam_edge.image import RgbImage
from sam_edge.text import printable, shown

GROUP = "sam_edge.detectors"

Detector = Callable[[RgbImage], list[Detection]]


def detector_named(name: str) -> Detector:
    """Return an installed detector.

    Args:
        name: of its entry point.

    Raises:
        ArgumentError: if no installed package brings it.
        DetectionError: if it cannot be imported; when it is called, if it fails or returns
            something else than detections.
    """
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        there = ", ".join(sorted(installed)) or "none is installed"
        raise ArgumentError(
            f"no detector is called {shown(name)} ({there}); packages bring them by the entry "
            f"point {GROUP}"
        )
    detect = _loaded(installed[name])

    def checked(image: RgbImage) -> list[Detection]:
        try:
            found = list(detect(image))
        except SamEdgeError:
            raise
        except Exception as error:  # a plug-in may be anybody's
            raise DetectionError(f"the detector {name} failed: {_described(error)}") from error
        for detection in found:
            if not isinstance(detection, Detection):
                raise DetectionError(
                    f"the detector {name} returned a {type(detection).__name__}, not a "
                    "sam_edge.detections.Detection"
                )
        return found

    return checked


def _loaded(entry: EntryPoint) -> Callable[[RgbImage], Iterable[Detection]]:
    try:
        detect = entry.load()
    except Exception as error:  # a plug-in may be anybody's
        raise DetectionError(
            f"the detector {entry.name} ({entry.value}) cannot be used: {_described(error)}"
        ) from error
    if not callable(detect):
        raise DetectionError(f"the detector {entry.name} ({entry.value}) is no function")
    return detect  # type: ignore[no-any-return]


def _described(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
