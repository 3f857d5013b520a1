"""Photos as a browser can show them."""

from __future__ import annotations

from io import BytesIO

from sam_edge.image import read_image
from sam_edge.picture_file import decode, open_picture, refusing, stated_bits, stated_orientation
from sam_edge.server.library import ServedPhoto

_SHOWN = {"JPEG": ("RGB", "L"), "PNG": ("RGB", "L"), "WEBP": ("RGB",)}
"""What every browser shows with the pixels that ``read_image`` gives. Left out are alpha, which
sam-edge ignores, palettes, which may have it, and CMYK, which browsers convert in their own way."""

LEAST_SIDE, MOST_SIDE = 16, 1024


def browser_picture(photo: ServedPhoto) -> tuple[bytes, str]:
    """Return a picture as large as the photo and upright, and its media type.

    Raises:
        ImageError: if it is no photo.
    """
    with open_picture(photo.path) as picture:
        kind = picture.format or ""
        # A JPEG's orientation is one that every browser applies; other files' is not.
        as_it_is = picture.mode in _SHOWN.get(kind, ()) and stated_bits(picture) == 8
        as_it_is &= kind == "JPEG" or stated_orientation(picture) == 1
        as_it_is &= "transparency" not in picture.info and "icc_profile" not in picture.info
        as_it_is &= getattr(picture, "n_frames", 1) == 1
    if as_it_is:
        return photo.path.read_bytes(), f"image/{kind.lower()}"
    from PIL import Image

    out = BytesIO()
    Image.fromarray(read_image(photo.path)).save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"


def thumbnail(photo: ServedPhoto, side: int) -> bytes:
    """Return a small JPEG, its longest side ``side`` pixels at most.

    Raises:
        ImageError: if it is no photo.
    """
    from PIL import Image, ImageOps

    with open_picture(photo.path) as picture, refusing(photo.name):
        quick = picture.format == "JPEG" and picture.mode in ("RGB", "L")
        if quick:
            picture.draft("RGB", (2 * side, 2 * side))  # decodes an eighth of it, at best
            decode(picture, photo.name)
            small = ImageOps.exif_transpose(picture).convert("RGB")
    if not quick:
        small = Image.fromarray(read_image(photo.path))
    small.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
    out = BytesIO()
    small.save(out, "JPEG", quality=80)
    return out.getvalue()
