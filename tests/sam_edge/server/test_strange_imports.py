"""Files of other tools may hold anything; the photo beside them is still shown."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette")

from sam_edge.server.imported import Imports
from sam_edge.server.objects import checked_objects

SIZE = (40, 60)

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 10, 30.5, -1])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
POINTS = st.lists(st.lists(NUMBERS, min_size=2, max_size=2), max_size=6) | JSON
KINDS = st.sampled_from(["polygon", "rectangle", "circle", "mask", "line"]) | JSON


def mappings(**fields):
    return st.fixed_dictionaries({}, optional=fields) | JSON


SHAPES = mappings(label=st.text() | JSON, points=POINTS, shape_type=KINDS, group_id=JSON, mask=JSON)
RLES = mappings(size=st.just([40, 60]) | JSON, counts=st.just("0`B") | JSON)
ENTRIES = mappings(
    id=JSON,
    image_id=st.just(1) | JSON,
    category_id=st.just(1) | JSON,
    segmentation=RLES | st.lists(st.lists(NUMBERS, max_size=8)) | JSON,
    score=JSON,
)
IMAGES = mappings(
    id=st.just(1) | JSON,
    file_name=st.just("photo.jpg") | JSON,
    height=st.just(40) | JSON,
    width=st.just(60) | JSON,
)
CATEGORIES = mappings(id=st.just(1) | JSON, name=st.just("cup") | JSON)
FILES = st.one_of(
    mappings(shapes=st.lists(SHAPES, max_size=4) | JSON, imagePath=JSON),
    mappings(image=st.just({}) | JSON, annotations=st.lists(ENTRIES, max_size=4) | JSON),
    mappings(
        images=st.lists(IMAGES, max_size=3) | JSON,
        annotations=st.lists(ENTRIES, max_size=4) | JSON,
        categories=st.lists(CATEGORIES, max_size=3) | JSON,
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("imports")


@settings(max_examples=500, deadline=None)
@given(content=FILES, name=st.sampled_from(["photo.json", "set.json", "photo-everything.json"]))
def test_what_is_read_can_be_saved_and_nothing_else_happens(folder, content, name):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    found = Imports(100).objects(folder / "photo.jpg", SIZE)
    if found is not None:
        assert checked_objects(found.objects, SIZE, 100) == found.objects
        assert found.file == path
    path.unlink()


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b'{"shapes": [', b'{"images": ' + b"[" * 9999]
)
def test_a_file_that_is_no_json_is_as_none(tmp_path, damage):
    (tmp_path / "photo.json").write_bytes(damage)
    assert Imports(100).objects(tmp_path / "photo.jpg", SIZE) is None


def test_links_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"shapes": [{"label": "a", "points": [[1, 1], [9, 1], [9, 9]]}]}')
    (tmp_path / "photo.json").symlink_to(elsewhere)
    assert Imports(100).objects(Path(tmp_path / "photo.jpg"), SIZE) is None
