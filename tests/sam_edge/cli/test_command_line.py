"""The command line loses nothing, writes over nothing, and never answers with a traceback."""

import importlib.metadata
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge.cli.frame
import sam_edge.cli.segment
from sam_edge.cli import main

COMMAND = [sys.executable, "-m", "sam_edge.cli"]
POINT = ["--point", "80,60"]


def disc(path):
    y, x = np.mgrid[:120, :160]
    pixels = np.full((120, 160, 3), (90, 120, 160), np.uint8)
    pixels[(x - 80) ** 2 + (y - 60) ** 2 < 35**2] = (200, 60, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a photo, to work in."""
    monkeypatch.chdir(tmp_path)
    disc(Path("disc.png"))
    return tmp_path


@pytest.fixture
def no_model(monkeypatch):
    """Work that begins with opening a model must not begin."""

    def fail(*_, **__):
        raise AssertionError("the model was opened")

    monkeypatch.setattr(sam_edge.cli.flags, "load_model", fail)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def call(*words, **options):
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=600, check=False, **options
    )


# --- nothing is written over, and no work is lost to a name ---


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("segment disc.png -o disc.png", 2, "-o would write over disc.png"),
        ("segment disc.png -o link.png", 2, "-o would write over disc.png"),
        ("segment disc.png -o twin.png", 2, "-o would write over disc.png"),
        ("segment disc.png --overlay ./a/../disc.png", 2, "--overlay would write over disc.png"),
        ("segment disc.png --json twin", 2, "--json would write over disc.png"),
        ("segment disc.png a/disc-mask.png -o a", 2, "-o would write over a/disc-mask.png"),
        ("segment disc.png --mask a/other.png -o a/other.png", 2, "would write over a/other.png"),
        ("segment disc.png -o x.jpg", 2, "-o x.jpg: expected a name that ends in .png"),
        ("segment disc.png -o x.tif", 2, "-o x.tif: expected"),
        ("segment disc.png --overlay x.tga", 2, "--overlay x.tga: expected"),
        ("segment disc.png -o x.png --overlay x.png", 2, "-o and --overlay would both write x.png"),
        ("segment disc.png -o x.png --overlay X.PNG", 2, "-o and --overlay would both write"),
        ("segment disc.png -o x.png --json a/../x.png", 2, "that is a picture's name"),
        ("segment disc.png --json a", 2, "--json 'a': name a file"),
        ("segment disc.png --json new/", 2, "--json 'new/': name a file"),
        ("segment disc.png -o sub", 2, "sub/disc-mask.png is a folder"),
        ("segment disc.png -o plain/x.png", 1, "plain/x.png cannot be written: Not a directory"),
        ("segment disc.png a -o plain", 2, "-o plain names one file"),
        ("segment disc.png -o /proc/here/x.png", 1, "/proc/here cannot be written"),
        ("segment disc.png --json /proc/x.json", 1, "/proc cannot be written"),
        ("segment disc.png -o -", 2, "name a file or a folder"),
        (f"segment disc.png -o {'x' * 300}.png", 1, "cannot be written: File name too long"),
        ("everything disc.png -o disc.png", 2, "-o would write over disc.png"),
        ("everything disc.png -o x.csv", 2, "-o x.csv: expected a name that ends in .geojson or"),
        ("everything disc.png --format svg -o x.json", 2, "expected a name that ends in .svg"),
        ("everything disc.png --format png -o x.jpg", 2, "expected a name that ends in .png"),
        ("everything disc.png -o x.png --overlay x.png", 2, "would both write x.png"),
        ("everything disc.png a -o x.json", 2, "names one file, but 3 will be written"),
        ("everything disc.png --prompts b.json -o b.json", 2, "-o would write over b.json"),
        ("evaluate --dataset sa1b . --json a", 2, "--json 'a': name a file"),
        ("evaluate --dataset sa1b . --json /proc/x.json", 1, "/proc cannot be written"),
    ],
)
def test_names_are_checked_before_any_work(here, no_model, capsys, words, code, says):
    disc(Path("a/other.png"))
    disc(Path("a/disc-mask.png"))
    Path("link.png").symlink_to("disc.png")
    for twin in ("twin.png", "twin"):
        os.link("disc.png", twin)
    Path("sub/disc-mask.png").mkdir(parents=True)
    Path("plain").write_text("a file")
    Path("b.json").write_text("[]")
    before = contents(here)
    words = words.split()
    assert main([*words, *(POINT if words[0] == "segment" else [])]) == code
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert contents(here) == before


def test_photos_of_one_name_keep_their_masks_apart(here):
    for name in ("left/cup.png", "right/cup.png", "right/cup.bmp"):
        disc(Path(name))
    assert main(["segment", "left", "right", *POINT, "-o", "out"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "cup.bmp-mask.png",
        "left-cup.png-mask.png",
        "right-cup.png-mask.png",
    ]


def test_suffixes_count_without_case(here, capsys):
    main(["segment", "disc.png", *POINT, "-o", "M.PNG", "--overlay", "O.JPG"])
    everything = ["everything", "disc.png", "--points-per-side", "2"]
    main([*everything, "-o", "E.SVG"])
    main([*everything, "-o", "E.PNG"])
    main([*everything, "-o", "new.v2/"])
    assert Path("E.SVG").read_text().startswith("<svg")
    for name, form in (("M.PNG", "PNG"), ("O.JPG", "JPEG"), ("E.PNG", "PNG")):
        with Image.open(name) as picture:
            assert picture.format == form
    assert Path("new.v2/disc-everything.json").is_file()


def test_folders_are_made_for_every_output(here):
    targets = ["-o", "1/a/m.png", "--overlay", "2/a/", "--json", "3/a/x.json"]
    assert main(["segment", "disc.png", *POINT, *targets]) == 0
    assert Path("1/a/m.png").is_file()
    assert Path("2/a/disc-overlay.png").is_file()
    assert json.loads(Path("3/a/x.json").read_text())["photos"]


# --- what is bad is skipped, what is good is done ---


def test_one_bad_photo_among_many_is_named_and_counted(here, capsys):
    disc(Path("shots/a.png"))
    Path("shots/b.jpg").write_text("no photo")
    disc(Path("shots/c.png"))
    Image.new("RGB", (30, 30)).save("shots/d.png")  # the point lies outside
    words = ["segment", "shots/*", *POINT, "-o", "out", "--json", "out.json"]
    assert main(words) == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["a-mask.png", "c-mask.png"]
    document = json.loads(Path("out.json").read_text())
    assert [record["image"] for record in document["photos"]] == ["shots/a.png", "shots/c.png"]
    bad = {entry["image"]: entry["error"] for entry in document["failed"]}
    assert set(bad) == {"shots/b.jpg", "shots/d.png"}
    assert "not a picture" in bad["shots/b.jpg"]
    assert "point 80,60 lies outside" in bad["shots/d.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "2 photos done, 2 failed"
    assert sum(line.startswith("sam-edge: shots/") for line in lines) == 2


def test_one_bad_box_among_many_is_skipped(here, capsys):
    boxes = ["--box", "40,20,120,100", "--box", "900,900,950,950", "--box", "0,0,30,30"]
    assert main(["segment", "disc.png", *boxes, "-o", "out", "--json", "out.json"]) == 1
    assert sorted(os.listdir("out")) == ["disc-mask-0.png", "disc-mask-2.png"]
    document = json.loads(Path("out.json").read_text())
    objects = document["photos"][0]["objects"]
    assert [len(entry["masks"]) for entry in objects] == [1, 0, 1]
    assert "outside the photo" in objects[1]["error"]
    assert [entry["object"] for entry in document["failed"]] == [1]
    assert "disc.png: box 900,900,950,950 lies outside" in capsys.readouterr().err


def test_everything_takes_folders_and_goes_on(here, capsys):
    disc(Path("shots/a.png"))
    Path("shots/b.png").write_text("no photo")
    words = ["everything", "shots", "--points-per-side", "2", "-o", "out", "--overlay", "out"]
    assert main(words) == 1
    assert sorted(os.listdir("out")) == ["a-everything.json", "a-everything.png"]
    assert "1 photos done, 1 failed" in capsys.readouterr().err


def test_a_bad_annotation_among_many_is_skipped_and_its_mask_empty(here, capsys):
    boxes = [
        {"image_id": "disc", "category_id": 1, "bbox": [40, 20, 80, 80], "score": 0.5},
        {"image_id": "disc", "category_id": 1, "bbox": [1, 2, -3, 4], "score": 0.5},
        {"image_id": "disc", "category_id": 1, "bbox": [900, 900, 9, 9], "score": 0.5},
    ]
    Path("b.json").write_text(json.dumps(boxes))
    words = ["everything", "disc.png", "--prompts", "b.json", "--format", "coco", "-o", "o.json"]
    assert main(words) == 1
    annotations = json.loads(Path("o.json").read_text())["annotations"]
    assert [entry["area"] > 0 for entry in annotations] == [True, False, False]
    assert [entry["bbox"] for entry in annotations] == [box["bbox"] for box in boxes]
    assert capsys.readouterr().err.count("skipped\n") == 2


def test_evaluate_scores_what_can_be_scored(here, capsys):
    for name in ("a", "b"):
        image = {"image_id": 1, "file_name": f"{name}.png", "height": 120, "width": 160}
        polygon = {"id": 1, "bbox": [40, 20, 80, 80], "segmentation": [[40, 20, 120, 20, 80, 100]]}
        Path(f"{name}.json").write_text(json.dumps({"image": image, "annotations": [polygon]}))
    disc(Path("b.png"))
    assert main(["evaluate", "--dataset", "sa1b", ".", "--json", "out/scores.json"]) == 1
    document = json.loads(Path("out/scores.json").read_text())
    assert [score["photo"] for score in document["objects"]] == ["b.png"]
    assert "a.png" in document["failed"][0]["error"]
    captured = capsys.readouterr()
    assert "1 objects on 1 photos" in captured.out
    assert "a.png" in captured.err


def test_ctrl_c_keeps_the_records_of_the_photos_done(here, monkeypatch, capsys):
    disc(Path("shots/a.png"))
    disc(Path("shots/b.png"))
    read = sam_edge.photos.Photo.read

    def until_b(photo, **options):
        if photo.name.endswith("b.png"):
            raise KeyboardInterrupt
        return read(photo, **options)

    monkeypatch.setattr(sam_edge.photos.Photo, "read", until_b)
    assert main(["segment", "shots", *POINT, "--json", "out.json"]) == 1
    assert len(json.loads(Path("out.json").read_text())["photos"]) == 1
    assert capsys.readouterr().err.endswith("sam-edge: stopped\n")


@pytest.mark.parametrize("command", ["segment", "everything"])
def test_a_photo_comes_through_a_pipe(here, command):
    words = [*POINT, "-o", "out"] if command == "segment" else ["--points-per-side", "2"]
    done = subprocess.run(
        [*COMMAND, command, "-", *words],
        input=Path("disc.png").read_bytes(),
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    target = "out/stdin-mask.png" if command == "segment" else "stdin-everything.png"
    with Image.open(target) as picture:
        assert picture.size == (160, 120)


@pytest.mark.parametrize(("data", "says"), [(b"", "stdin"), (b"hello", "stdin")])
def test_a_pipe_without_a_photo_gets_one_line(here, data, says):
    done = subprocess.run(
        [*COMMAND, "segment", "-", *POINT],
        input=data,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert says in done.stderr.decode()


# --- files are whole ---

REWRITE = """
import sys
from sam_edge.cli import main
words = ["segment", "disc.png", "--box", "10,10,1190,890", "-o", "m.png", "--overlay", "o.png"]
main([*words, "--json", "x.json"])
print("ready", flush=True)
while True:
    main([*words, "--json", "x.json"])
"""


def test_kill_9_leaves_whole_files_and_the_next_run_cleans_up(here):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (900, 1200, 3), np.uint8)  # which takes long to write
    Image.fromarray(noise).save("disc.png", compress_level=0)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", REWRITE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.2, 0.8))
            child.send_signal(signal.SIGKILL)
        for name in ("m.png", "o.png"):
            with Image.open(name) as picture:
                picture.load()
        json.loads(Path("x.json").read_text())
    words = ["segment", "disc.png", "--box", "10,10,1190,890", "-o", "m.png"]
    assert main([*words, "--overlay", "o.png", "--json", "x.json"]) == 0
    assert sorted(os.listdir()) == ["disc.png", "m.png", "o.png", "x.json"]


@pytest.mark.parametrize("flag", ["-o", "--overlay", "--json"])
def test_a_full_disk_is_said_in_one_line(here, capsys, flag):
    assert main(["segment", "disc.png", *POINT, flag, "/dev/full"]) == 1
    assert capsys.readouterr().err == (
        "sam-edge: /dev/full cannot be written: No space left on device\n"
    )


def test_masks_go_into_a_pipe(here):
    words = ["--points-per-side", "2", "--format", "svg", "-o", "/dev/stdout"]
    done = call("everything", "disc.png", *words)
    assert done.returncode == 0
    assert done.stdout.startswith("<svg")


def test_json_never_holds_nan_and_leaves_the_old_file(here, monkeypatch, capsys):
    Path("x.json").write_text("old")
    monkeypatch.setattr(sam_edge.cli.segment, "_record", lambda *_: {"score": float("nan")})
    assert main(["segment", "disc.png", *POINT, "--json", "x.json"]) == 1
    assert Path("x.json").read_text() == "old"
    assert "please report it" in capsys.readouterr().err


def test_labelme_names_a_link_by_its_own_name(here):
    Path("store").mkdir()
    Path("disc.png").rename("store/0f3a")
    Path("photos").mkdir()
    Path("photos/cup.png").symlink_to("../store/0f3a")
    words = ["everything", "photos/cup.png", "--points-per-side", "2", "--format", "labelme"]
    assert main([*words, "-o", "out/cup.json"]) == 0
    assert json.loads(Path("out/cup.json").read_text())["imagePath"] == "../photos/cup.png"


# --- memory ---

HIGH_WATER = """
import re, sys
from sam_edge.cli import main
assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def test_a_hundred_boxes_take_hardly_more_memory_than_one(here):
    Image.new("RGB", (4000, 3000), (90, 120, 160)).save("disc.jpg")
    boxes = [f"--box={30 * n},{20 * n},{30 * n + 800},{20 * n + 700}" for n in range(80)]

    def peak(boxes):
        words = ["segment", "disc.jpg", *boxes, "--overlay", "o", "--json", "x.json"]
        done = subprocess.run(
            [sys.executable, "-c", HIGH_WATER, *words], capture_output=True, check=True, timeout=600
        )
        return int(done.stdout) * 1024

    # Every mask kept would be 12 MB each.
    assert peak(boxes) - peak(boxes[:2]) < 200e6


@pytest.mark.parametrize(
    ("text", "size"), [("512MB", 2**29), ("2 GiB", 2**31), ("1.5g", 3 * 2**29), ("67108864", 2**26)]
)
def test_amounts_of_memory_are_read(text, size):
    assert sam_edge.cli.flags.memory_size(text) == size


# --- no traceback ---


@pytest.mark.parametrize(
    "words",
    [
        "--threads 99999999999999999999",
        "--threads 0",
        "--point 1e999,5",
        "--point nan,5",
        "--box 1e999,1,2,3",
        "--memory-limit 0",
        "--memory-limit nan",
        "--memory-limit -5GB",
        f"--threads {'9' * 5000}",
        f"--point {'9' * 5000},5",
    ],
)
def test_numbers_that_cannot_be_meant_are_wrong_calls(here, capsys, words):
    assert code_of(["segment", "disc.png", "--box", "1,1,90,90", *words.split()]) == 2
    assert "expected" in (err := capsys.readouterr().err) or "finite" in err


@pytest.mark.parametrize(
    "words",
    [
        "--tolerance nan",
        "--tolerance -1",
        "--pred-iou-thresh nan",
        "--stability-score-offset inf",
        "--box-nms-thresh nan",
        f"--points-per-side {'9' * 5000}",
        "--points-per-side 0",
    ],
)
def test_knobs_that_cannot_be_meant_are_wrong_calls(here, words):
    assert code_of(["everything", "disc.png", *words.split()]) == 2


@pytest.mark.parametrize("limit", ["0", "-3", "nan", "9" * 5000])
def test_limits_that_cannot_be_meant_are_wrong_calls(here, limit):
    assert code_of(["evaluate", "--dataset", "sa1b", ".", "--limit", limit]) == 2


def code_of(words):
    """Return the exit code, whether main returns it or argparse exits with it."""
    try:
        return main(words)
    except SystemExit as exit:
        return exit.code


@pytest.fixture
def unforeseen(monkeypatch):
    def fail(*_, **__):
        raise LookupError("the engine\nsaid \x1b[2Jno")

    monkeypatch.setattr(sam_edge.cli.flags, "load_model", fail)


def test_what_nobody_foresaw_is_one_line(here, unforeseen, capsys):
    assert main(["segment", "disc.png", *POINT]) == 1
    assert capsys.readouterr().err == (
        "sam-edge: unforeseen: LookupError: the engine said \ufffd[2Jno; run it again as "
        "`sam-edge --debug ...` for the traceback, and please report it\n"
    )


def test_debug_shows_the_traceback(here, unforeseen, capsys):
    assert main(["--debug", "segment", "disc.png", *POINT]) == 1
    assert "Traceback" in capsys.readouterr().err


class Entry:
    """An entry point of somebody's package."""

    name = "aaa"
    value = "strange_plug_in:add_commands"

    def __init__(self, error):
        self.error = error

    def load(self):
        raise self.error


@pytest.fixture
def plug_in(monkeypatch):
    installed = importlib.metadata.entry_points(group="sam_edge.commands")

    def add(error):
        monkeypatch.setattr(
            importlib.metadata, "entry_points", lambda group: [Entry(error), *installed]
        )

    return add


@pytest.mark.parametrize("error", [ImportError("no module"), SystemExit(3), AttributeError("x")])
def test_a_broken_plug_in_takes_only_itself_away(plug_in, capsys, error):
    plug_in(error)
    assert main(["info"]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "strange_plug_in:add_commands are left out" in err


def test_ctrl_c_while_commands_are_imported_is_no_traceback(plug_in, capsys):
    plug_in(KeyboardInterrupt())
    assert main(["info"]) == 1
    assert capsys.readouterr().err == "sam-edge: stopped\n"


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores Ctrl-C, these tests perhaps."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_where_no_exception_can_leave_is_not_lost(here, interruptible, monkeypatch, capsys):
    class Going:
        def __del__(self):
            raise KeyboardInterrupt

    def load(*_, **__):
        Going()
        time.sleep(30)
        raise AssertionError("nobody stopped it")

    monkeypatch.setattr(sam_edge.cli.flags, "load_model", load)
    hook = sys.unraisablehook
    assert main(["segment", "disc.png", *POINT]) == 1
    assert capsys.readouterr().err == "sam-edge: stopped\n"
    assert sys.unraisablehook is hook


def test_a_warning_is_one_line(here, monkeypatch, capsys):
    def load(*_, **__):
        warnings.warn("the photo is\n dark", stacklevel=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(sam_edge.cli.flags, "load_model", load)
    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(["segment", "disc.png", *POINT])
    assert capsys.readouterr().err == ("sam-edge: warning: the photo is dark\nsam-edge: stopped\n")
    assert warnings.showwarning is shown


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["info", "--json"], ["models", "list"]])
def test_a_reader_that_left_is_no_error_to_speak_of(words, unbuffered):
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as child:
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1


def test_a_closed_stdout_is_said():
    done = call("info", "--json", preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert "stdout" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_closed_stderr_stops_no_work(here):
    done = call("segment", "disc.png", *POINT, "-o", "m.png", preexec_fn=lambda: os.close(2))
    assert done.returncode == 0
    assert Path("m.png").is_file()


def test_names_of_any_bytes_pass_through_an_ascii_terminal(here):
    names = [b"caf\xc3\xa9.png", b"cup\xff.png", b"red\x1b[31m.png"]
    for name in names:
        os.rename(disc(Path("x.png")), os.fsdecode(name))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    words = [os.fsdecode(name) for name in [*names, b"no\xff\x1b.png"]]
    out = ["-o", "out", "--json", "-"]
    done = call("segment", *words, *POINT, *out, env=environment, encoding="ascii")
    assert done.returncode == 1  # the last is not there
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    photos = json.loads(done.stdout)["photos"]
    assert [record["image"] for record in photos] == [
        *("café.png", "cup\ufffd.png", "red\ufffd[31m.png"),
    ]
    assert b"cup\xff-mask.png" in os.listdir(b"out")


def test_the_module_runs_as_the_command_does(here):
    done = call("segment", "disc.png")
    assert done.returncode == 2  # which needs the errors of one module, not of two
    assert "there is no prompt" in done.stderr


def test_more_memory_than_there_is_ends_in_one_line(here):
    limit = 1 << 30
    done = call(
        *("segment", "disc.png", *POINT, "-o", "m.png", "--threads", "1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit)),
    )
    assert re.fullmatch(r"sam-edge: .*m\.png cannot be written: File too large\n", done.stderr)
    assert done.returncode == 1
    assert not Path("m.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("delay", [0.06, 0.09, 0.13, 0.2, 0.3])
def test_ctrl_c_while_it_starts_is_no_traceback(delay):
    code = (
        "from sam_edge.start import main\n"
        "import sys; sys.stderr.write('up'); sys.stderr.flush(); sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "info", "--check"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as run:
        run.stderr.read(2)  # Python's own start is behind it
        time.sleep(delay)
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
    assert b"Traceback" not in said
