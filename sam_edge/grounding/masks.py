"""Words to masks: a grounder's boxes, and SAM's masks in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sam_edge.detections import Detection, segment_boxes
from sam_edge.embedding import ImageEmbedding
from sam_edge.formats.records import LabelledMask
from sam_edge.grounding.grounder import Grounder
from sam_edge.grounding.selection import DUPLICATE_IOU, NMS_IOU, without_duplicates
from sam_edge.image import ImageLike, read_image
from sam_edge.segmenter import MEMORY_LIMIT, PromptDecoder, Segmenter


def segment_text(
    model: Segmenter,
    grounder: Grounder,
    image: ImageLike,
    phrases: str | Iterable[str],
    *,
    exclude: str | Iterable[str] = (),
    threshold: float | None = None,
    top_k: int | None = None,
    nms_iou: float = NMS_IOU,
    best_phrase: bool = False,
    duplicate_iou: float = DUPLICATE_IOU,
    memory_limit: int = MEMORY_LIMIT,
) -> list[LabelledMask]:
    """Segment what phrases name.

    Args:
        model: what segments.
        grounder: what finds.
        image: a photo, as for ``Model.encode_image``.
        phrases: see ``Grounder.ground``, as of the others but the last two.
        exclude: what must not match.
        threshold: the least score of a box.
        top_k: how many boxes of each phrase are kept.
        nms_iou: from which overlap on boxes of one phrase are one object.
        best_phrase: give a box to one phrase only.
        duplicate_iou: masks that overlap by more than this are one object, which its best phrase
            names; 1 keeps all.
        memory_limit: in bytes, for the decoder's work.

    Returns:
        A mask an object, its phrase as ``label`` and the box's score as ``box_score``, the best
        first. An empty list if there is nothing of the kind: the model has then not run at all.
    """
    pixels = read_image(image)
    found = grounder.ground(
        pixels,
        phrases,
        exclude=exclude,
        threshold=threshold,
        top_k=top_k,
        nms_iou=nms_iou,
        best_phrase=best_phrase,
    )
    if not found:
        return []
    return segment_detections(
        model, model.encode_image(pixels), found, duplicate_iou, memory_limit=memory_limit
    )


def segment_detections(
    model: PromptDecoder,
    embedding: ImageEmbedding,
    detections: Sequence[Detection],
    duplicate_iou: float = DUPLICATE_IOU,
    *,
    memory_limit: int = MEMORY_LIMIT,
) -> list[LabelledMask]:
    """Segment detections, and keep one mask of an object that several phrases found.

    Args:
        model: what segments.
        embedding: the photo's.
        detections: its boxes with scores.
        duplicate_iou: as for ``segment_text``.
        memory_limit: in bytes, for the decoder's work.
    """
    masks = segment_boxes(model, embedding, detections, memory_limit=memory_limit)
    scores = [mask.box_score or 0.0 for mask in masks]
    kept = without_duplicates([mask.rle for mask in masks], scores, duplicate_iou)
    return [masks[index] for index in kept]
