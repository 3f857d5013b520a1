"""``everything --tile``: one picture that is larger than the model sees well, tile by tile."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.cli.console import progress_bar, say
from sam_edge.cli.failures import Failures
from sam_edge.cli.segment import banner_of
from sam_edge.errors import ImageError
from sam_edge.formats import draw_everything
from sam_edge.formats.write import save_picture, write_geojson, write_masks
from sam_edge.image import MAX_PIXELS
from sam_edge.photos import Photo
from sam_edge.tiling import ArrayWindows, Windows, open_windows, segment_tiles
from sam_edge.tiling.overview import reduced


def segment_large(
    photo: Photo,
    generator: SamAutomaticMaskGenerator,
    arguments: argparse.Namespace,
    failures: Failures,
    kind: str,
    masks_file: Path | None,
    overlay_file: Path | None,
) -> None:
    """Segment everything in a picture as the command line says.

    Args:
        photo: the picture.
        generator: the model and its knobs.
        arguments: of ``everything``: ``tile``, ``overlap``, ``stretch``, ``tolerance``.
        failures: is given the tiles that are left out.
        kind: the format of the masks.
        masks_file: where they go, if anywhere.
        overlay_file: where the picture to look at goes, if anywhere.
    """
    with _windows_of(photo, arguments.stretch) as picture:
        size = picture.size
        if kind != "geojson" and masks_file is not None and size[0] * size[1] > MAX_PIXELS:
            raise ImageError(
                f"{photo.name} has {size[1]} x {size[0]} pixels; masks of more than {MAX_PIXELS} "
                "are written by --format geojson alone"
            )
        masks = segment_tiles(
            picture,
            generator,
            arguments.tile,
            arguments.overlap,
            skip=failures.skip(photo),
            progress=progress_bar("tiles"),
        )
        if masks_file is not None:
            tolerance = arguments.tolerance
            if kind == "geojson":
                write_geojson(masks, masks_file, picture.georeference, tolerance)
            else:
                whole = [mask.labelled(size) for mask in masks]
                write_masks(whole, kind, masks_file, photo, size, tolerance)
            say(f"{masks_file}  {len(masks)} masks")
        if overlay_file is not None:
            image, drawn = reduced(picture, masks)
            banner = banner_of(generator.model.spec)
            save_picture(draw_everything(image, drawn, banner=banner), overlay_file)
            say(f"{overlay_file}")


@contextmanager
def _windows_of(photo: Photo, stretch: bool) -> Iterator[Windows]:
    if photo.path is None:
        yield ArrayWindows(photo.read(stretch=stretch), photo.name)
        return
    with open_windows(photo.path, stretch=stretch) as picture:
        yield picture
