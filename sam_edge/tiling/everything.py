"""Everything in a large picture: one tile after the other, and what crosses their edges joined."""

from __future__ import annotations

from collections.abc import Callable

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.errors import EngineError, ImageError
from sam_edge.fields import Skip
from sam_edge.formats.records import labelled
from sam_edge.tiling.grid import Grid
from sam_edge.tiling.records import TiledMask
from sam_edge.tiling.stitch import Stitcher
from sam_edge.tiling.windows import Windows


def segment_tiles(
    picture: Windows,
    generator: SamAutomaticMaskGenerator,
    tile: int = 1024,
    overlap: int | None = None,
    *,
    skip: Skip | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[TiledMask]:
    """Segment everything in a picture of any size; in memory are a tile and the outlines found.

    Args:
        picture: what gives windows of it, see ``open_windows``.
        generator: the model and its knobs, each of which is for one tile. Of two objects of
            the picture whose masks' IoU is above ``crop_nms_thresh``, the lower-scored is dropped.
        tile: side of a tile, in pixels; the encoder resizes it to its own.
        overlap: see ``Grid``. Things that are smaller than it are whole in one tile.
        skip: called with one line for each tile that cannot be read or segmented; None raises at
            the first.
        progress: called as ``progress(done, total)``, in tiles.
        cancelled: asked often; True stops the work.

    Returns:
        One record an object, the best predicted IoU first.

    Raises:
        TilingError: if the tile or the overlap cannot be.
        ImageError: if no tile can be read, or one cannot and ``skip`` is None.
        EngineError: likewise, if it cannot be segmented.
        CancelledError: if ``cancelled`` said so.
    """
    tiles = list(Grid(picture.size, tile, overlap).tiles())
    stitcher = Stitcher(picture.size)
    failed = []
    for done, each in enumerate(tiles, 1):
        try:
            found = labelled(generator.generate(picture.read(each.box), cancelled=cancelled))
            stitcher.add(each, found)
        except (ImageError, EngineError, MemoryError) as error:
            x0, y0, x1, y1 = each.box
            reason = str(error) or "there is not enough memory"
            failed.append(f"tile of {x1 - x0} x {y1 - y0} at {x0},{y0}: {reason}")
            if skip is None or len(failed) == len(tiles):
                kind = EngineError if isinstance(error, EngineError) else ImageError
                raise kind(f"{picture.name}, {failed[-1]}") from error
            skip(failed[-1])
        if progress is not None:
            progress(done, len(tiles))
    return stitcher.objects(generator.crop_nms_thresh)
