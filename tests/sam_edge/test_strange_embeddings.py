"""Embedding files from anyone: read right, or refused in one line before they fill the memory."""

import io
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import EmbeddingError

FEATURES = np.linspace(-1, 1, 256 * 16 * 16, dtype=np.float32).reshape(1, 256, 16, 16)

GOOD = ImageEmbedding(
    features={"image_embeddings": FEATURES},
    original_size=(128, 256),
    input_size=(128, 256),
    photo_sha256="a" * 64,
    source_sha256="0" * 64,
    image_size=256,
    engine="fake",
    precision="fp32",
)


def members():
    """What a file of format 1 holds."""
    values = {name: getattr(GOOD, name) for name in GOOD.__slots__}
    values |= {"format": 1, "features": FEATURES}
    return {name: np.asarray(value) for name, value in values.items()}


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def written(path, changed, compression=zipfile.ZIP_STORED):
    """Write an embedding of which some members are other arrays or bytes, or None: not there."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in {**members(), **changed}.items():
            if value is not None:
                archive.writestr(f"{name}.npy", value if isinstance(value, bytes) else npy(value))
    return path


def refused(path, message="."):
    with pytest.raises(EmbeddingError, match=message) as caught:
        ImageEmbedding.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_numpy_writes_is_read(tmp_path, compression):
    features = np.asfortranarray(FEATURES).astype(">f2")
    path = written(tmp_path / "a.npz", {"features": features, "frame": None}, compression)
    loaded = ImageEmbedding.load(path)
    assert np.array_equal(loaded.features["image_embeddings"], FEATURES.astype(np.float16))
    assert loaded.key == GOOD.key
    assert loaded.frame == "square"


def header(shape, descr="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def huge(megabytes):
    """Return an array of zeros of the given size as .npy, whose shape is true."""
    return header((megabytes * 2**18,)) + bytes(megabytes * 2**20)


@pytest.mark.parametrize(
    "changed",
    [
        {"features": huge(256)},
        {"features": header((1, 256, 16, 16)) + bytes(256 * 2**20)},
        {"photo_sha256": header((), "<U67108863") + bytes(256 * 2**20)},
        {"original_size": huge(256)},
        {"image_size": b"\x93NUMPY\2\0\xff\xff\xff\x0f" + b" " * 256 * 2**20},
    ],
    ids=["shape", "more bytes than its shape", "text", "size", "header"],
)
def test_a_compressed_bomb_is_refused_before_it_is_unpacked(tmp_path, changed):
    path = written(tmp_path / "bomb.npz", changed, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_zip_file_of_many_members_is_refused_before_its_list_is_read(tmp_path):
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(str(number), b"")
    tracemalloc.start()
    try:
        refused(path, "too many members")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": np.full_like(FEATURES, np.nan)}, "NaN or infinity"),
        ({"features": FEATURES.astype(np.float64)}, "features is float64"),
        ({"features": FEATURES.astype("O")}, "features is object"),
        ({"features": FEATURES.astype(np.complex64)}, "features is complex64"),
        ({"features": FEATURES[:, :, :8]}, r"\(1, 256, 8, 16\)"),
        ({"original_size": (-128, -256)}, "no photo has original_size"),
        ({"original_size": (2**40, 2**41)}, "no photo has original_size"),
        ({"original_size": (128.0, 256.0)}, "original_size is float64"),
        ({"original_size": (128, 256, 3)}, r"of shape \(3,\)"),
        ({"original_size": (256, 128)}, "input_size"),
        ({"input_size": (128, 128)}, "input_size"),
        ({"image_size": 250}, "image_size 250"),
        ({"image_size": 0}, "image_size 0"),
        ({"image_size": 2**62}, "image_size"),
        ({"image_size": "256"}, "image_size is <U3"),
        ({"format": 3}, "format 3 is unknown"),
        ({"engine": 7}, "engine is int64"),
        ({"engine": "a\x1b[2Jb"}, "control characters"),
        ({"engine": "x" * 1000}, "engine is <U1000"),
        ({"engine": None}, "it holds"),
        ({"surprise": 1}, "it holds"),
        ({"engine": b""}, "."),
        ({"engine": b"\x93NUMPY"}, "."),
        ({"engine": b"\x93NUMPY\1\0\x76\0" + b"(" * 117 + b"\n"}, "."),
        ({"engine": b"\x93NUMPY\1\0\x76\0" + b"\xff" * 117 + b"\n"}, "."),
        ({"engine": b"GIF89a"}, "."),
    ],
)
def test_a_part_that_is_not_what_it_must_be_is_named(tmp_path, changed, message):
    refused(written(tmp_path / "a.npz", changed), message)


def test_a_member_listed_twice_is_refused(tmp_path):
    path = written(tmp_path / "a.npz", {"frame": None})
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("engine.npy", npy("other"))
    refused(path, "it holds")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_numpy_never_writes_is_refused(tmp_path, compression):
    refused(written(tmp_path / "a.npz", {}, compression), "numpy does not write")


def test_an_encrypted_member_is_refused(tmp_path):
    path = written(tmp_path / "a.npz", {})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = data.find(signature)
        while place >= 0:
            data[place + offset] |= 1
            place = data.find(signature, place + 1)
    path.write_bytes(data)
    refused(path, "encrypted")


@pytest.mark.parametrize("data", [b"", b"PK", b"junk" * 100, npy([1, 2]), npy(FEATURES)])
def test_a_file_that_is_no_zip_is_refused(tmp_path, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    refused(path, "no zip file")


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe.npz"
    code = f"""
import os, sam_edge
os.mkfifo({str(path)!r})
try: sam_edge.ImageEmbedding.load({str(path)!r})
except sam_edge.SamEdgeError as error: print(error)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True
    )
    assert "no regular file" in out.stdout


def test_features_that_float16_cannot_hold_are_not_lost(tmp_path):
    large = replace(GOOD, features={"image_embeddings": FEATURES * 1e5})
    path = tmp_path / "a.npz"
    with pytest.raises(EmbeddingError, match="beyond float16; save as float32"):
        large.save(path, dtype="float16")
    assert not path.exists()
    large.save(path)
    assert np.array_equal(ImageEmbedding.load(path).features["image_embeddings"], FEATURES * 1e5)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutated") / "a.npz"
    small = {"features": np.zeros((1, 256, 4, 4), np.float32), "image_size": 64}
    sizes = {"original_size": (64, 32), "input_size": (64, 32)}
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    content = bytearray(written(path, small | sizes, compression).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        # The features are most of the file and the least of what can go wrong.
        where = data.draw(st.integers(-1500, -1) | st.integers(0, 300))
        content[where] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    path.write_bytes(content)
    try:
        ImageEmbedding.load(path)
    except EmbeddingError:
        refused(path)


def test_several_named_tensors_come_back_as_they_went(tmp_path):
    high = np.arange(32 * 64 * 64, dtype=np.float32).reshape(1, 32, 64, 64)
    several = replace(GOOD, features={**GOOD.features, "high_resolution_0": high})
    several.save(tmp_path / "a.npz")
    loaded = ImageEmbedding.load(tmp_path / "a.npz")
    assert list(loaded.features) == ["image_embeddings", "high_resolution_0"]
    assert np.array_equal(loaded.features["high_resolution_0"], high)


@pytest.mark.parametrize(
    "changed",
    [
        {"features.image_embeddings": np.zeros((1, 256, 15, 15), np.float32)},
        {"features.image_embeddings": np.zeros((2, 256, 16, 16), np.float32)},
        {"features.image_embeddings": np.zeros((1, 5000, 16, 16), np.float32)},
        {"features.image_embeddings": np.zeros((1, 256, 16, 16), np.int32)},
        {"features.image_embeddings": np.zeros((256, 16, 16), np.float32)},
        {"features.image_embeddings": None},
        {"features.no name": FEATURES},
        {"features.": FEATURES},
        {"other": FEATURES},
        {f"features.t{number}": np.zeros((1, 1, 1, 1), np.float32) for number in range(8)},
    ],
    ids=range(10),
)
def test_tensors_of_format_2_are_checked_one_by_one(tmp_path, changed):
    base = {"format": 2, "features": None, "features.image_embeddings": FEATURES}
    refused(written(tmp_path / "a.npz", {**base, **changed}))
