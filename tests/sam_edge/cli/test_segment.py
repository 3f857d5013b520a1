"""The command line's words and exit codes, on the model in the box."""

import json

import numpy as np
import pytest
from PIL import Image

from sam_edge.cli import main


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A disc on a plain ground: any segmenter should find it."""
    y, x = np.mgrid[:120, :160]
    pixels = np.full((120, 160, 3), (90, 120, 160), np.uint8)
    pixels[(x - 80) ** 2 + (y - 60) ** 2 < 35**2] = (200, 60, 40)
    path = tmp_path_factory.mktemp("photos") / "disc.png"
    Image.fromarray(pixels).save(path)
    return path


def test_a_lone_point_writes_one_mask(photo, tmp_path, capsys):
    code = main(["segment", str(photo), "--point", "80,60", "-o", str(tmp_path / "mask.png")])
    assert code == 0
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    assert mask.shape == (120, 160)
    assert set(np.unique(mask)) <= {0, 255}
    assert mask[60, 80] == 255
    assert "score" in capsys.readouterr().err


# pycocotools' own arrays predate numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_json_holds_masks_that_read_back(photo, tmp_path):
    from pycocotools import mask as coco

    out = tmp_path / "out.json"
    assert main(["segment", str(photo), "--box", "40,20,120,100", "--json", str(out)]) == 0
    record = json.loads(out.read_text())["photos"][0]
    assert (record["height"], record["width"]) == (120, 160)
    mask = record["objects"][0]["masks"][0]
    assert coco.decode(mask["segmentation"]).sum() == mask["area"]


def test_several_boxes_are_several_objects_in_a_folder(photo, tmp_path):
    code = main(
        ["segment", str(photo), "--box", "40,20,120,100", "--box", "0,0,30,30", "-o", str(tmp_path)]
    )
    assert code == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "disc-mask-0.png",
        "disc-mask-1.png",
    ]


def test_several_photos_and_an_overlay_folder(photo, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(photo.read_bytes())
    out = tmp_path / "over"
    arguments = ["segment", str(photo), str(other), "--point", "80,60", "--overlay", str(out)]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["disc-overlay.png", "other-overlay.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "there is no prompt"),
        (["--point", "500,60"], 2, "500,60 lies outside the photo, which is 160 x 120"),
        (["--point", "nan,60"], 2, "finite"),
        (["--point", "80"], 2, "expected X,Y"),
        (["--point", "80,60,7"], 2, "got 7"),
        (["--box", "100,100,20,20"], 2, "x0 < x1"),
        (["--box", "1,2,3"], 2, "expected X0,Y0,X1,Y1"),
        (["--box", "1,2,30,30", "--box", "1,2,40,40", "--point", "3,3"], 2, "call of its own"),
        (["--box", "1,2,30,30", "--box", "1,2,40,40", "-o", "x.png"], 2, "name a folder"),
        (["--point", "80,60", "-m", "no-such-model"], 1, "no-such-model"),
        (["--point", "80,60", "--mask", "absent.png"], 1, "absent.png"),
    ],
)
def test_a_wrong_call_gets_one_line(photo, capsys, arguments, code, words):
    assert main(["segment", str(photo), *arguments]) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.startswith("sam-edge: ")
    assert err.count("\n") == 1


def test_a_file_that_is_no_photo_gets_one_line(tmp_path, capsys):
    (tmp_path / "x.jpg").write_text("hello")
    assert main(["segment", str(tmp_path / "x.jpg"), "--point", "1,1"]) == 1
    assert "not a picture" in capsys.readouterr().err


def test_info_speaks_to_people_and_programs(capsys):
    assert main(["info", "--check"]) == 0
    assert "image_encoder.onnx" in capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 2


def test_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    assert "--point 620,400,0" in capsys.readouterr().out
