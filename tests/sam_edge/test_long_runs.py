"""Many photos, several models, several photos at once: what holds for one keeps holding."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sam_edge
from sam_edge.bundle import read_spec
from sam_edge.image import preprocess
from sam_edge.loading import graph_opener
from sam_edge.spec import IMAGE_ENCODER
from sam_edge.zoo import resolve
from sam_edge_runtimes import formats_of, open_session
from tests.sam_edge.known import INSTALLED

PHOTOS = 200
LONG_RUN = f"""
import sys
import numpy as np
import sam_edge
from sam_edge_runtimes.memory import resident_sizes

_, engine, memory, compute = sys.argv
model = sam_edge.load_model(runtime=engine, threads=2, memory=memory, compute=compute)
generator = np.random.default_rng(0)
first = generator.integers(0, 256, (300, 400, 3), np.uint8)
answer = model.encode_image(first).features["image_embeddings"]
for _ in range({PHOTOS}):
    height, width = generator.integers(200, 1400, 2)
    photo = generator.integers(0, 256, (height, width, 3), np.uint8)
    embedding = model.encode_image(photo)
    model.decode(embedding, points=[(width // 2, height // 2)])
    print(resident_sizes()["VmRSS"])
assert np.array_equal(model.encode_image(first).features["image_embeddings"], answer)
"""


def features_of(model, photo):
    return model.encode_image(photo).features["image_embeddings"]


@pytest.fixture(params=INSTALLED)
def engine(request):
    return request.param


def photo_of(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("memory", "compute"),
    [
        ("normal", "float32"),
        pytest.param("low", "float32", marks=pytest.mark.slow),
        pytest.param("normal", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_200_photos_of_changing_size_need_no_more_than_50(engine, memory, compute):
    if compute not in formats_of(engine):
        pytest.skip(f"{engine} does not compute in {compute} on this CPU")
    command = [sys.executable, "-c", LONG_RUN, engine, memory, compute]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    megabytes = np.array([int(line) for line in done.stdout.split()]) / 1e6
    assert len(megabytes) == PHOTOS
    # Photos of changing size leave holes in the heap, which fill up: some 15 MB. An embedding that
    # stayed with each photo would be 59 MB in a hundred of them.
    assert megabytes[150:].max() < megabytes[50:100].max() + 25


def test_models_in_one_process_do_not_disturb_each_other(engine):
    """Two threads, each with a model and a photo of its own."""
    photos = [photo_of(1, 300, 400), photo_of(2, 500, 200)]
    models = [sam_edge.load_model(runtime=engine, threads=2) for _ in photos]
    alone = [
        model.encode_image(photo).features["image_embeddings"]
        for model, photo in zip(models, photos, strict=True)
    ]

    def encode_often(number):
        return [
            models[number].encode_image(photos[number]).features["image_embeddings"]
            for _ in range(10)
        ]

    with ThreadPoolExecutor(2) as pool:
        for expected, answers in zip(alone, pool.map(encode_often, (0, 1)), strict=True):
            assert all(np.array_equal(features, expected) for features in answers)


def test_the_engines_share_a_process():
    models = [sam_edge.load_model(runtime=name) for name in INSTALLED]
    photo = photo_of(3, 200, 300)
    features = [features_of(model, photo) for model in models + models]
    for other in features[1:]:
        error = np.linalg.norm(other - features[0]) / np.linalg.norm(features[0])
        assert error < 1e-4


def test_photos_in_one_batch_get_what_they_get_alone(engine):
    directory = resolve(None)
    spec = read_spec(directory)
    graph = spec.graph(IMAGE_ENCODER, engine)
    shapes = {tensor.name: tensor.shape for tensor in graph.inputs}
    any_batch = open_session(engine, directory / graph.file, threads=2, input_shapes=shapes)
    images = [preprocess(photo_of(seed, 100 * seed, 350), spec) for seed in (1, 2, 3)]
    alone = graph_opener(directory, spec, IMAGE_ENCODER, engine, 2, cache=False)()
    for count in (3, 1, 2):
        batch = np.concatenate(images[:count])
        together = any_batch.run({"image": batch})["image_embeddings"]
        for features, image in zip(together, images, strict=False):
            expected = alone.run({"image": image})["image_embeddings"][0]
            error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
            assert error < 1e-5
