"""A user's script under ``mypy --strict``: what is right passes, what is not there is reported."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("mypy")

RIGHT = """
import numpy as np
from numpy.typing import NDArray

import sam_edge
from sam_edge import Prompt, SamAutomaticMaskGenerator, SamPredictor, load_model, sam_model_registry

image: NDArray[np.uint8] = np.zeros((100, 200, 3), np.uint8)
sam = sam_model_registry["nano"](checkpoint=None)
predictor = SamPredictor(sam.to(device="cpu").eval())
predictor.set_image(image, image_format="BGR")
masks, scores, logits = predictor.predict(np.array([[5, 5]]), np.array([1]), return_logits=True)
batch, _, _ = predictor.predict_batch(boxes=np.array([[1, 1, 50, 50]]), mask_input=logits[:, None])
height, width = predictor.original_size
if predictor.features is not None:
    print(predictor.features.shape, predictor.device, sam.mask_threshold, batch[int(height)])
coords = predictor.transform.apply_coords(np.array([[1.0, 2.0]]), image.shape[:2])
records = SamAutomaticMaskGenerator(model=sam, output_mode="coco_rle").generate(image)
areas = [record["area"] for record in records]
try:
    model = load_model(threads=1)
except sam_edge.errors.ModelNotFoundError as error:
    raise SystemExit(str(error)) from error
for result in model.decode_batch(model.encode_image(image), [Prompt.of(box=(1, 1, 9, 9))]):
    print(result.best.any(), result.scores.max())
"""

WRONG = """
import numpy as np
import sam_edge

sam = sam_edge.sam_model_registry["nano"]()
predictor = sam_edge.SamPredictor(sam)
predictor.predict_torch(None, None)
predictor.transform.apply_boxes_torch(np.zeros((1, 4)), (1, 1))
sam.cuda()
sam([{}], multimask_output=False)
sam_edge.sam_model_registry["nano"](checkpoint=5)
sam_edge.no_such_name
"""


def reported(tmp_path, script):
    """Lines of a script that mypy has something to say about."""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    options = ["--strict", "--config-file=", "--python-executable", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    lines = script.splitlines()
    found = re.findall(r"^script\.py:(\d+): error", done.stdout, re.MULTILINE)
    return [lines[int(number) - 1] for number in found]


def test_a_right_script_passes(tmp_path):
    assert reported(tmp_path, RIGHT) == []


def test_what_is_not_there_is_reported(tmp_path):
    assert reported(tmp_path, WRONG) == WRONG.splitlines()[6:]
