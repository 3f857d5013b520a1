"""Small photos of drawn things, with boxes of a detector."""

import json

import numpy as np
from PIL import Image, ImageDraw

SIZE = (48, 64)  # height, width


def draw(path, number):
    """Save a photo with two things in it, and return their boxes, XYXY."""
    random = np.random.default_rng(number)
    x, y = random.integers(2, 8, 2).tolist()
    boxes = [(x, y, x + 20, y + 24), (x + 30, y + 6, x + 48, y + 32)]
    picture = Image.new("RGB", SIZE[::-1], tuple(random.integers(150, 255, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for box, shape in zip(boxes, (pen.ellipse, pen.rectangle), strict=True):
        shape(box, fill=tuple(random.integers(0, 110, 3).tolist()))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return boxes


def draw_set(folder, count, bad=()):
    """Save photos in two folders and a CSV of their boxes; some are no photos."""
    rows = ["image,x0,y0,x1,y1,label,score\n"]
    for number in range(count):
        name = f"{'ab'[number % 2]}/{number:03}.png"
        for label, box in zip(("ball", "brick"), draw(folder / name, number), strict=True):
            rows.append(f"{name},{','.join(map(str, box))},{label},0.{number % 9 + 1}\n")
        if number in bad:
            (folder / name).write_bytes((folder / name).read_bytes()[:60])
    (folder / "boxes.csv").write_text("".join(rows), encoding="utf-8")
    return folder


def tree(folder):
    """Every file's bytes by its name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
