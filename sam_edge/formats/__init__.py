"""Masks as files that other tools own, out and in; see ``docs/formats.md``."""

from sam_edge.formats.coco import coco_document
from sam_edge.formats.geojson import Georeference, geojson_text
from sam_edge.formats.label_map import draw_everything, label_map, label_map_picture
from sam_edge.formats.labelme import labelme_document
from sam_edge.formats.records import LabelledMask, labelled
from sam_edge.formats.sa1b import sa1b_document
from sam_edge.formats.svg import svg_text
from sam_edge.formats.yolo import class_names, yolo_data, yolo_text

__all__ = [
    "Georeference",
    "LabelledMask",
    "class_names",
    "coco_document",
    "draw_everything",
    "geojson_text",
    "label_map",
    "label_map_picture",
    "labelled",
    "labelme_document",
    "sa1b_document",
    "svg_text",
    "yolo_data",
    "yolo_text",
]
