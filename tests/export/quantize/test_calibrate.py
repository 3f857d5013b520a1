"""Calibration sets: drawn, from a folder, refused."""

import numpy as np
import pytest
from PIL import Image

from sam_edge.errors import SamEdgeError
from sam_edge.photos import photos_in
from sam_edge_export.quantize.calibrate import (
    calibration_photos,
    dead_leaves,
    fingerprint,
)


def save(folder, name, pixels):
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def test_drawn_scenes_are_the_same_every_time_and_full_of_contrast():
    scenes = calibration_photos(None, [])
    assert len({fingerprint([scene]) for scene in scenes}) == len(scenes)
    assert fingerprint(scenes) == fingerprint(calibration_photos(None, []))
    for scene in scenes:
        assert scene.dtype == np.uint8
        assert scene.std() > 20
        edges = np.abs(np.diff(scene.astype(int), axis=1)).max(-1) > 25
        assert 0.01 < edges.mean() < 0.5  # shapes, neither a flat field nor noise


def test_a_scene_takes_any_size():
    assert dead_leaves(3, 50, 70).shape == (50, 70, 3)


def test_a_folder_is_taken_in_order(tmp_path):
    for name in ("b.png", "a.png"):
        save(tmp_path / "own", name, dead_leaves(ord(name[0]), 40, 60))
    photos = calibration_photos(tmp_path / "own", [])
    assert np.array_equal(photos[0], dead_leaves(ord("a"), 40, 60))


def test_folders_that_say_nothing_are_refused(tmp_path):
    with pytest.raises(SamEdgeError, match="is not a folder"):
        calibration_photos(tmp_path / "absent", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SamEdgeError, match="has no photos"):
        calibration_photos(tmp_path / "empty", [])
    save(tmp_path / "grey", "one.png", np.full((40, 40, 3), 128, np.uint8))
    with pytest.raises(SamEdgeError, match="have one colour"):
        calibration_photos(tmp_path / "grey", [])
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "a.jpg").write_bytes(b"\xff\xd8 cut off")
    with pytest.raises(SamEdgeError, match=r"calibration: .*a\.jpg"):
        calibration_photos(tmp_path / "torn", [])


def test_nothing_is_calibrated_on_what_it_is_judged_on(tmp_path):
    judged = photos_in(None)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "renamed.jpg").write_bytes(judged[0].read_bytes())
    with pytest.raises(SamEdgeError, match="judged on; calibrate on others"):
        calibration_photos(tmp_path / "own", judged)
