import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.detections import Detection, segment_boxes
from sam_edge.photos import photos_in
from sam_edge.prompts import Box

CAT = Box(60, 20, 420, 280)
EYE = Box(150, 60, 260, 160)


@pytest.fixture(scope="session")
def model():
    return sam_edge.load_model()


@pytest.fixture(scope="session")
def path():
    (photo,) = (path for path in photos_in(None) if path.name == "chelsea.jpg")
    return photo


@pytest.fixture(scope="session")
def photo(path):
    return np.asarray(Image.open(path))


@pytest.fixture(scope="session")
def embedding(model, photo):
    return model.encode_image(photo)


@pytest.fixture(scope="session")
def masks(model, embedding):
    """Two objects, one inside the other, as a detector and a click would give them."""
    detections = [Detection(CAT, "cat", score=0.75), Detection(EYE, "eye")]
    return segment_boxes(model, embedding, detections)
