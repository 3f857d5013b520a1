"""GeoJSON: polygons that are the masks, in pixels or on a map."""

import json

import numpy as np
import pytest

from sam_edge.formats import Georeference, LabelledMask, geojson_text
from sam_edge.formats.write import write_geojson
from sam_edge.masks import MaskError, encode_rle
from sam_edge.masks.polygons import ring_area

Y, X = np.mgrid[:60, :80]
DISC = np.hypot(Y - 30, X - 40) < 20
RING = DISC & (np.hypot(Y - 30, X - 40) > 9)
PARTS = RING | (X + Y < 12)
NORTH_UP = Georeference("urn:ogc:def:crs:EPSG::32633", (0.5, 0, 500_000, 0, -0.5, 5_400_000))


def mask_of(pixels, label="object"):
    return LabelledMask(encode_rle(pixels), 0.9, 0.95, [[40.0, 30.0]], [0, 0, 80, 60], label)


def document(*masks, **how):
    return json.loads("".join(geojson_text(masks, **how)))


def polygons(feature):
    shape = feature["geometry"]
    return [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]


def area(feature):
    return sum(ring_area(np.array(ring)[:-1]) for rings in polygons(feature) for ring in rings)


@pytest.mark.parametrize(
    ("pixels", "kind", "rings"),
    [(DISC, "Polygon", [1]), (RING, "Polygon", [2]), (PARTS, "MultiPolygon", [1, 2])],
)
@pytest.mark.parametrize(("where", "pixel"), [(None, 1), (NORTH_UP, 0.25)], ids=["pixels", "map"])
def test_holes_are_holes_and_outer_rings_run_counterclockwise(pixels, kind, rings, where, pixel):
    (feature,) = document(mask_of(pixels), georeference=where)["features"]
    assert feature["geometry"]["type"] == kind
    assert [len(each) for each in polygons(feature)] == rings
    for outer, *holes in polygons(feature):
        for ring in (outer, *holes):
            assert ring[0] == ring[-1]
        assert ring_area(np.array(outer)[:-1]) > 0
        assert all(ring_area(np.array(hole)[:-1]) < 0 for hole in holes)
    assert area(feature) == pixels.sum() * pixel


def test_coordinates_are_the_maps_and_the_reference_system_is_named():
    square = np.zeros((60, 80), np.bool_)
    square[10:20, 30:32] = True
    shown = document(mask_of(square, "roof"), georeference=NORTH_UP)
    assert shown["type"] == "FeatureCollection"
    assert shown["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    (feature,) = shown["features"]
    corners = {tuple(corner) for corner in feature["geometry"]["coordinates"][0]}
    assert corners == {(500_000 + x, 5_400_000 - y) for x in (15, 16) for y in (5, 10)}
    assert feature["properties"] == {
        "label": "roof",
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "area": 20,
    }


def test_without_a_map_there_is_no_reference_system_and_empty_masks_are_left_out():
    shown = document(mask_of(np.zeros((60, 80), np.bool_)), mask_of(DISC))
    assert "crs" not in shown
    assert [feature["id"] for feature in shown["features"]] == [1]
    assert document()["features"] == []


def test_a_tolerance_leaves_corners_out():
    (exact,) = document(mask_of(DISC))["features"]
    (rough,) = document(mask_of(DISC), tolerance=1.0)["features"]
    assert len(polygons(rough)[0][0]) < len(polygons(exact)[0][0]) / 2
    assert area(rough) == pytest.approx(area(exact), rel=0.05)
    with pytest.raises(MaskError):
        document(mask_of(DISC), tolerance=float("nan"))


def test_a_file_that_fails_half_way_is_not_there(tmp_path):
    def masks():
        yield mask_of(DISC)
        raise MaskError("no more")

    with pytest.raises(MaskError):
        write_geojson(masks(), tmp_path / "out.geojson")
    assert list(tmp_path.iterdir()) == []


def test_gdal_fills_the_polygons_to_the_very_mask():
    features = pytest.importorskip("rasterio.features")
    from rasterio.transform import Affine

    for pixels in (DISC, RING, PARTS):
        (feature,) = document(mask_of(pixels), georeference=NORTH_UP)["features"]
        filled = features.rasterize(
            [feature["geometry"]],
            out_shape=pixels.shape,
            transform=Affine(*NORTH_UP.transform),
        )
        assert np.array_equal(filled == 1, pixels)
