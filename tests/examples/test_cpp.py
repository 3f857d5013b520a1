"""The C++ example gives the masks that Python gives.

It needs CMake, a compiler, stb's headers and ONNX Runtime's: those of Debian 13's packages
``libstb-dev`` and ``libonnxruntime-dev``, or the folders that ``STB`` and ``ONNXRUNTIME_INCLUDE``
name. The library is that of the Python package.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.zoo import resolve

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "sam_edge" / "assets" / "photos"
INCLUDE = Path(os.environ.get("ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))
STB = Path(os.environ.get("STB", "/usr/include/stb"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake"),
    pytest.mark.skipif(
        not (INCLUDE / "onnxruntime_cxx_api.h").exists(),
        reason="needs ONNX Runtime's C++ headers in ONNXRUNTIME_INCLUDE",
    ),
    pytest.mark.skipif(not (STB / "stb_image.h").exists(), reason="needs stb's headers in STB"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("cpp")
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1.*")
    (folder / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(library)
    (folder / "include").symlink_to(INCLUDE)
    source = ROOT / "examples" / "cpp"
    flags = [f"-DONNXRUNTIME={folder}", f"-DSTB={STB}", "-DCMAKE_CXX_FLAGS=-Werror"]
    subprocess.run(["cmake", "-S", source, "-B", folder / "build", *flags], check=True)
    subprocess.run(["cmake", "--build", folder / "build"], check=True)
    return folder / "build" / "segment"


def crops():
    """Photos that are shrunk, enlarged, square, tall and wide."""
    yield ROOT / "examples" / "vectors" / "photo.png", None, None
    yield PHOTOS / "astronaut.jpg", (1500, 1501), None
    yield PHOTOS / "chelsea.jpg", None, (0, 0, 200, 300)
    yield PHOTOS / "coffee.jpg", None, (100, 100, 400, 197)


@pytest.mark.parametrize("prompt", [[(0.5, 0.6, 1)], [(0.5, 0.6, 1), (0.9, 0.2, 0)]], ids=len)
def test_masks_are_pythons(program, tmp_path, prompt):
    model = sam_edge.load_model(runtime="onnxruntime")
    for number, (path, size, box) in enumerate(crops()):
        with Image.open(path) as photo:
            picture = photo.convert("RGB").crop(box) if box else photo.convert("RGB")
        picture = picture.resize(size) if size else picture
        pixels = np.asarray(picture)
        picture.save(tmp_path / f"{number}.png")
        points = [(x * picture.width, y * picture.height) for x, y, _ in prompt]
        labels = [label for *_, label in prompt]
        words = [f"{x},{y},{label}" for (x, y), label in zip(points, labels, strict=True)]
        out = tmp_path / f"{number}-mask.png"
        subprocess.run(
            [program, resolve(None), tmp_path / f"{number}.png", out, *words], check=True
        )
        result = model.decode(
            model.encode_image(pixels), points=points, labels=labels, multimask=len(points) == 1
        )
        with Image.open(out) as mask:
            found = np.asarray(mask) > 0
        assert (found & result.best).sum() / (found | result.best).sum() >= 0.999
        assert found.any()


@pytest.mark.parametrize("path", sorted(PHOTOS.glob("*.jpg")), ids=lambda path: path.stem)
def test_masks_of_jpeg_differ_little_as_its_decoders_do(program, tmp_path, path):
    model = sam_edge.load_model(runtime="onnxruntime")
    out = tmp_path / "mask.png"
    subprocess.run([program, resolve(None), path, out, "300,150"], check=True)
    best = model.decode(model.encode_image(path), points=[(300, 150)]).best
    with Image.open(out) as mask:
        found = np.asarray(mask) > 0
    assert (found & best).sum() / (found | best).sum() >= 0.99


def test_a_call_that_cannot_be_is_one_line(program, tmp_path):
    for words in ([], ["absent", "a.png", "b.png", "1,2"], [resolve(None), __file__, "b", "1,2"]):
        done = subprocess.run([program, *words], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("segment: ")
        assert done.stderr.count("\n") == 1
