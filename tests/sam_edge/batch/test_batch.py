"""A whole batch, in processes: what is left of it however often it was killed."""

import contextlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import sam_edge.batch
from sam_edge.batch import Batch, BatchError, iterate, run
from sam_edge.batch.steady import SteadyWorker
from sam_edge.batch.values import STALL_TIMEOUT
from sam_edge.cli import main
from sam_edge.detections import DetectionError
from sam_edge.errors import ArgumentError, ImageError, SamEdgeError
from sam_edge.formats.write import FORMATS
from tests.sam_edge.batch.drawn import SIZE, draw, draw_set, lines, tree


def test_a_set_with_a_bad_photo_is_done_and_kept_and_the_bad_one_named(shots, tmp_path, capsys):
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    words = ["batch", str(shots), "-o", str(out), "--prompts", str(shots / "boxes.csv")]
    assert main([*words, "--json-log", str(log), "--processes", "2"]) == 1
    assert "5 photos done, 1 failed, 10 masks" in capsys.readouterr().err
    (error,) = lines(out / "errors.jsonl")
    assert (error["image"], error["skipped"]) == ("a/004.png", "image")
    events = lines(log)
    assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
    assert {event["image"] for event in events[1:-1]} == {
        f"{'ab'[number % 2]}/{number:03}.png" for number in range(6)
    }
    whole = json.loads((out / "coco.json").read_text())
    numbers = [int(image["file_name"][2:5]) for image in whole["images"]]
    assert numbers == [0, 2, 1, 3, 5]
    assert [annotation["id"] for annotation in whole["annotations"]] == list(range(1, 11))
    names = {entry["id"]: entry["name"] for entry in whole["categories"]}
    assert [names[entry["category_id"]] for entry in whole["annotations"]] == ["ball", "brick"] * 5
    first = tree(out)
    # Again: refused, then kept.
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume", "--processes", "1"]) == 1
    assert "0 photos done, 5 were, 1 failed" in capsys.readouterr().err
    assert tree(out) == first


def test_cocoeval_of_the_boxes_is_the_detectors_own(tmp_path):
    images, truth, results = [], [], []
    for number in range(4):
        boxes = draw(tmp_path / "photos" / f"{number}.png", number)
        image = {"id": 70 + number, "file_name": f"{number}.png"}
        images.append({**image, "height": SIZE[0], "width": SIZE[1]})
        for kind, (x0, y0, x1, y1) in enumerate(boxes):
            entry = {"image_id": 70 + number, "category_id": 3 + kind}
            bbox = [x0, y0, x1 - x0, y1 - y0]
            area = bbox[2] * bbox[3]
            truth.append({**entry, "id": len(truth) + 1, "bbox": bbox, "area": area, "iscrowd": 0})
            shift = 1.25 * (number + kind)  # the worse, the surer
            bbox = [x0 + shift, y0 + 0.5, x1 - x0, y1 - y0]
            results.append({**entry, "bbox": bbox, "score": 0.3 + 0.1 * (number + kind)})
    # Sure of what is not there: each costs precision, though nothing can be segmented in it.
    nothing = {"image_id": 70, "category_id": 3, "score": 0.99}
    results += [{**nothing, "bbox": bbox} for bbox in ([4, 4, 0, 9], [4000, 4, 9, 9])]
    categories = [{"id": 3, "name": "ball"}, {"id": 4, "name": "brick"}]
    for name, content in (
        ("truth.json", {"images": images, "annotations": truth, "categories": categories}),
        ("results.json", results),
    ):
        (tmp_path / name).write_text(json.dumps(content))
    found = sam_edge.batch.run(
        tmp_path / "truth.json",
        tmp_path / "out",
        images=tmp_path / "photos",
        prompts=tmp_path / "results.json",
        processes=1,
    )
    assert (found.done, found.masks, found.errors) == (4, 10, 2)
    lines = (tmp_path / "out" / "errors.jsonl").read_text().splitlines()
    problems = [json.loads(line)["error"] for line in lines]
    assert "box 8: a box needs x0 < x1" in problems[0]
    assert "outside the photo" in problems[1]
    whole = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert whole["categories"] == categories
    assert [image["id"] for image in whole["images"]] == [70, 71, 72, 73]

    def average_precision(detections):
        with contextlib.redirect_stdout(io.StringIO()):
            known = COCO(tmp_path / "truth.json")
            scores = COCOeval(known, known.loadRes(detections), "bbox")
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
        return scores.stats.tolist()

    theirs = average_precision(results)
    assert 0 < theirs[0] < 1
    boxes = ("image_id", "category_id", "bbox", "score")
    assert average_precision([{k: a[k] for k in boxes} for a in whole["annotations"]]) == theirs


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_that_cannot_be_written_is_named(shots, tmp_path, capsys):
    words = ["batch", str(shots), "-o", str(tmp_path / "out"), "--json-log"]
    assert main([*words, "/dev/full"]) == 1
    assert "/dev/full cannot be written: No space left" in capsys.readouterr().err
    assert main([*words, str(tmp_path)]) == 2
    assert "--json-log" in capsys.readouterr().err


def test_a_log_replaces_no_result_and_nothing_but_a_log(tmp_path, capsys):
    photos = draw_set(tmp_path / "photos", 1)
    out = tmp_path / "out"
    words = ["batch", str(photos), "-o", str(out), "--prompts", str(photos / "boxes.csv")]
    labels = tmp_path / "labels.txt"
    labels.write_text("0 0.5 0.5 0.1 0.1")
    results = ("errors.jsonl", "coco.json", "a/000.done.json", "a/000-everything.json")
    for log in (labels, *(out / name for name in results)):
        assert main([*words, "--json-log", str(log)]) == 2
        assert f"--json-log {log}" in capsys.readouterr().err
    assert labels.read_text() == "0 0.5 0.5 0.1 0.1"
    assert not list(out.rglob("*.json"))
    log = out / "log.jsonl"
    for _ in range(2):
        assert main([*words, "--json-log", str(log), "--resume"]) == 0
    assert [line["event"] for line in lines(log)] == ["start", "photo", "end"]


def test_what_is_bad_and_of_no_photo_is_said_and_logged(tmp_path, capsys):
    photos = draw_set(tmp_path / "photos", 1)
    box = {"image_id": None, "category_id": 1, "bbox": [1, 2, 3, 4]}
    content = {"images": [{"id": 1, "file_name": "000.png"}], "annotations": [box]}
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({**content, "categories": [{"id": 1, "name": "cat"}]}))
    log = tmp_path / "log.jsonl"
    words = ["batch", str(photos), "-o", str(tmp_path / "out"), "--prompts", str(boxes)]
    assert main([*words, "--json-log", str(log)]) == 1
    (problem,) = lines(log)[0]["errors"]
    assert problem in capsys.readouterr().err


def batch_process(photos, out, *words):
    """Start the command, which writes a line for each photo."""
    code = "import sys; from sam_edge.cli import main; sys.exit(main(sys.argv[1:]))"
    prompts = ["--prompts", str(photos / "boxes.csv"), "--resume", "--json-log", "-"]
    return subprocess.Popen(
        [sys.executable, "-c", code, "batch", str(photos), "-o", str(out), *prompts, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def after(process, count, action):
    """Wait for some photos' lines, then do something to the process; return what is written."""
    seen = []
    with process:
        for line in process.stdout:
            seen.append(json.loads(line))
            if seen[-1]["event"] == "photo" and len(seen) == 1 + count:
                action()
        process.stderr.read()
    return seen, process.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="its signals are others")
def test_killed_and_stopped_and_resumed_it_is_as_if_nothing_had_been(tmp_path):
    photos = draw_set(tmp_path / "photos", 18, bad=(3, 13))
    expected = sam_edge.batch.run(
        photos, tmp_path / "whole", prompts=photos / "boxes.csv", processes=1, threads=1
    )
    assert (expected.done, expected.failed) == (16, 2)
    out = tmp_path / "out"
    killed = batch_process(photos, out, "--processes", "1")
    after(killed, 6, killed.kill)
    assert not (out / "coco.json").exists()
    done = len(list(out.rglob("*.done.json")))
    assert 5 <= done < 16
    for path in out.rglob("*.json"):
        json.loads(path.read_text())  # whole, whatever there is
    stopped = batch_process(photos, out, "--processes", "2")
    seen, code = after(stopped, 9, lambda: stopped.send_signal(signal.SIGINT))
    assert code == 1
    assert seen[-1]["event"] == "end"
    assert seen[-1]["stopped"]
    assert seen[-1]["kept"] >= 5
    assert len(list(out.rglob("*.done.json"))) >= 7
    # On Arm, ONNX Runtime's last bits depend on the number of threads.
    threads = "1" if platform.machine() in ("aarch64", "arm64") else "2"
    last = batch_process(photos, out, "--processes", "1", "--threads", threads)
    seen, code = after(last, 99, None)
    assert code == 1
    assert seen[-1]["done"] + seen[-1]["kept"] == 16
    ours = {name: data for name, data in tree(out).items() if not name.endswith("-partial")}
    assert ours == tree(tmp_path / "whole")


def children():
    """The worker processes that this process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = path.read_text().rpartition(")")[2].split()[1]
            command = (path.parent / "cmdline").read_bytes()
            if int(parent) == os.getpid() and b"sam_edge.batch.worker_process" in command:
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's heap")
def test_a_worker_keeps_its_memory_from_one_photo_to_the_next(tmp_path):
    photos = draw_set(tmp_path / "photos", 12)
    for path in photos.rglob("*.png"):
        with Image.open(path) as small:
            large = small.resize((1600, 1200))
        large.save(path)
    faults = []  # of pages, so far
    for _ in iterate(photos, tmp_path / "out", prompts=photos / "boxes.csv", processes=1):
        (child,) = children()
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        faults.append(int(fields[7]))
        if len(faults) == 11:  # it ends after the last
            break
    pages = 1600 * 1200 * 3 / os.sysconf("SC_PAGE_SIZE")
    assert (faults[10] - faults[5]) / 5 < pages / 4


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_that_dies_is_replaced_and_its_photo_tried_once_more(tmp_path):
    photos = draw_set(tmp_path / "photos", 4)
    killed = 0
    statuses = {}
    batch = Batch(photos, tmp_path / "out", prompts=photos / "boxes.csv", processes=1)
    for outcome in batch.iterate():
        statuses[outcome.item.index] = (outcome.status, outcome.masks)
        if killed == 0:
            (child,) = children()
            os.kill(child, signal.SIGKILL)
            killed += 1
    assert statuses == dict.fromkeys(range(4), ("done", 2))
    assert not children()


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be made to stand still")
def test_a_worker_that_stands_still_is_replaced(shots, tmp_path):
    batch = Batch(shots, tmp_path / "out", prompts=shots / "boxes.csv")
    worker = SteadyWorker(batch.settings)
    first, second, third, *_ = batch.jobs()
    try:
        assert worker.do(first, 1, None).status == "done"
        stuck = worker._process
        stuck.patience = 0.5
        os.kill(stuck._process.pid, signal.SIGSTOP)
        assert worker.do(second, 1, None).status == "done"
        assert worker._process is not stuck
        assert worker._process.patience == STALL_TIMEOUT
        worker._process.patience = 0.5
        os.kill(worker._process._process.pid, signal.SIGSTOP)
        outcome = worker.do(replace(third, attempt=1), 1, None)
    finally:
        worker.kill()
        worker.end()
    assert outcome.status == "failed"
    assert "made no progress for 0.5 s" in outcome.error


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be made to stand still")
def test_a_worker_that_reads_no_job_and_one_that_does_not_end_are_ended(shots, tmp_path):
    batch = Batch(shots, tmp_path / "out", prompts=shots / "boxes.csv")
    worker = SteadyWorker(batch.settings)
    first, second, *_ = batch.jobs()
    many = replace(second.prompts, source="x" * 2**18)  # more than a pipe holds
    try:
        assert worker.do(first, 1, None).status == "done"
        worker._process.patience = 0.5
        os.kill(worker._process._process.pid, signal.SIGSTOP)
        outcome = worker.do(replace(second, prompts=many, attempt=1), 1, None)
        assert "made no progress" in outcome.error
        assert worker.do(first, 1, None).status == "done"
        worker._process.patience = 0.5
        os.kill(worker._process._process.pid, signal.SIGSTOP)
    finally:
        ended = worker._process._process
        worker.end()
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be made to stand still")
def test_a_worker_that_opens_its_model_can_be_killed(shots, tmp_path):
    batch = Batch(shots, tmp_path / "out", prompts=shots / "boxes.csv")
    worker = SteadyWorker(batch.settings)
    answers = []
    working = threading.Thread(target=lambda: answers.append(worker.do(*begin)))
    begin = (next(batch.jobs()), 1, None)
    working.start()
    while worker._process is None:
        pass
    os.kill(worker._process._process.pid, signal.SIGSTOP)
    worker.kill()
    working.join(60)
    assert answers == [None]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_photo_that_two_workers_die_of_is_reported(tmp_path):
    draw(tmp_path / "quick.png", 1)
    draw(tmp_path / "slow.png", 2)
    box = '{"box": [2, 2, 40, 40]}'
    (tmp_path / "boxes.jsonl").write_text(
        f'{{"image": "quick.png", "objects": [{box}]}}\n'
        f'{{"image": "slow.png", "objects": [{", ".join([box] * 20_000)}]}}\n'
    )
    stop = False
    outcomes = []

    def kill_all():
        while not stop:
            for child in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            stopped.wait(0.2)

    stopped = threading.Event()
    killer = threading.Thread(target=kill_all)
    photos = [tmp_path / "quick.png", tmp_path / "slow.png"]
    try:
        for outcome in iterate(
            photos, tmp_path / "out", prompts=tmp_path / "boxes.jsonl", processes=1
        ):
            outcomes.append(outcome)
            if len(outcomes) == 1:
                killer.start()
    finally:
        stop = True
        stopped.set()
        killer.join()
    assert [outcome.status for outcome in outcomes] == ["done", "failed"]
    assert "died of SIGKILL" in outcomes[1].error
    assert [line["image"] for line in lines(tmp_path / "out" / "errors.jsonl")] == ["slow.png"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_no_more_processes_share_a_limit_than_it_has_room_for(shots, tmp_path):
    options = {"prompts": shots / "boxes.csv"}
    alone = next(iterate(shots, tmp_path / "alone", memory_limit=8 * 2**30, **options))
    limit = int(1.5 * alone.peak_bytes)  # of data, so two would have too little
    outcomes = list(iterate(shots, tmp_path / "out", memory_limit=limit, **options))
    assert [outcome.status for outcome in outcomes].count("done") == 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_a_share_too_small_for_any_model_says_what_to_do(shots, tmp_path):
    with pytest.raises(BatchError, match="needs 250 MB at least: give more, or fewer processes"):
        run(shots, tmp_path / "out", prompts=shots / "boxes.csv", memory_limit=200_000_000)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_a_photo_beyond_the_memory_limit_fails_alone(tmp_path):
    photos = draw_set(tmp_path / "photos", 2)
    Image.new("RGB", (9000, 9000), (3, 4, 5)).save(photos / "a" / "large.png")
    (photos / "boxes.csv").write_text(
        (photos / "boxes.csv").read_text() + "a/large.png,9,9,99,99,ball,1\n"
    )
    limit = 300 * 2**20
    outcomes = {
        outcome.item.name: outcome
        for outcome in iterate(
            photos,
            tmp_path / "out",
            prompts=photos / "boxes.csv",
            processes=1,
            memory_limit=limit,
            runtime="onnxruntime",
        )
    }
    assert outcomes["a/000"].status == outcomes["b/001"].status == "done"
    assert "not enough memory" in outcomes["a/large"].error
    assert max(outcome.peak_bytes for outcome in outcomes.values()) <= limit


def test_a_model_that_does_not_run_stops_the_batch_at_its_first_photo(shots, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(files("sam_edge") / "assets" / "nano", bundle)
    graph = bundle / "image_encoder.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(data)
    with pytest.raises(BatchError, match="image_encoder"):
        sam_edge.batch.run(
            shots, tmp_path / "out", model=bundle, prompts=shots / "boxes.csv", processes=1
        )
    assert len(list((tmp_path / "out").rglob("*.done.json"))) == 0


def test_a_loop_that_is_left_leaves_no_process(tmp_path, shots):
    if sys.platform != "linux":
        pytest.skip("looks into /proc")
    for outcome in iterate(shots, tmp_path / "out", prompts=shots / "boxes.csv", processes=1):
        assert outcome.status == "done"
        break
    assert not children()
    assert list((tmp_path / "out").rglob("*.done.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "voc"}, "format is one of"),
        ({"engine": "slurm"}, "engine is one of local, ray"),
        ({"processes": 0}, "processes must be"),
        ({"generator": {"model": 1}}, "model is no knob"),
        ({"generator": {"points_per_side": 0}}, "points_per_side"),
        ({"prompts": "other.csv"}, "names none of the 6 photos"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"stall_timeout": "10"}, "stall_timeout"),
        ({"tile": "64"}, "tile must be a whole number"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"model": "no-such-model"}, "no-such-model"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    shots, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    Path("other.csv").write_text("image,x0,y0,x1,y1\nz.png,1,1,9,9\n")
    with pytest.raises(SamEdgeError, match=message):
        Batch(shots, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_photos_are_not_written_over(tmp_path):
    draw(tmp_path / "x.png", 0)
    draw(tmp_path / "x-labels.png", 1)
    with pytest.raises(ArgumentError, match="would be written over"):
        Batch([tmp_path / "x.png", tmp_path / "x-labels.png"], tmp_path, format="png")
    with pytest.raises(ArgumentError, match="a label map is a photo, too"):
        Batch(tmp_path, f"file://{tmp_path}", format="png")
    for folder in "ab":
        draw(tmp_path / "set" / folder / "x.png", 0)
    folders = [tmp_path / "set" / "a", tmp_path / "set" / "b"]
    with pytest.raises(ArgumentError, match="a label map is a photo, too"):
        Batch(folders, tmp_path / "set", format="png")
    with pytest.raises(ArgumentError, match="a label map is a photo, too"):
        Batch(f"{tmp_path}/set/*/*.png", tmp_path / "set", format="png")


def coco_set(folder, *, ids=(1, 2)):
    draw(folder / "1.png", 0)
    draw(folder / "b.png", 1)
    named = zip(ids, ("1.png", "b.png"), strict=True)
    images = [{"id": number, "file_name": name} for number, name in named]
    (folder / "coco.json").write_text(json.dumps({"images": images, "categories": []}))
    return folder / "coco.json"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("coco.json", {}),
        ("errors.jsonl", {}),
        ("batch/1.done.json", {}),
        ("data.yaml", {"format": "yolo"}),
        (f"1{FORMATS['yolo']}", {"format": "yolo"}),
        (f"1{FORMATS['png']}", {"format": "png"}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_what_no_batch_has_written_is_not_written_over(tmp_path, name, options, prefix):
    draw(tmp_path / "1.png", 0)
    out = tmp_path / "out"
    there = out / name.removeprefix("batch/")
    out.mkdir()
    there.write_text("somebody's work")
    for resume in (False, True):
        with pytest.raises(ArgumentError, match="is there already and would be written over"):
            Batch(tmp_path / "1.png", f"{prefix}{out}", resume=resume, **options)
    assert there.read_text() == "somebody's work"


@pytest.mark.parametrize("kind", ["yolo", "labelme"])
def test_results_that_would_be_read_as_prompts_are_refused(tmp_path, kind):
    draw(tmp_path / "photos" / "1.png", 0)
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "1.txt").write_text("0 .5 .5 .5 .5\n")
    with pytest.raises(ArgumentError, match="is read as prompts; name a folder outside it"):
        Batch(tmp_path / "photos", boxes / "out", prompts=boxes, format=kind)
    Batch(tmp_path / "photos", boxes / "out", prompts=boxes, format="coco")


@pytest.mark.parametrize(
    ("dataset", "pattern"),
    [("coco", False), ("sa1b", False), ("labelme", False), (None, False), (None, True)],
)
def test_results_below_the_photos_are_none_of_the_set(tmp_path, dataset, pattern):
    photos = tmp_path / "photos"
    coco_set(photos)
    if dataset in ("sa1b", "labelme"):
        (photos / "coco.json").unlink()
        said = {"version": "5", "imagePath": "1.png", "shapes": []}
        said["image"] = {"file_name": "1.png", "image_id": 4, "width": 48, "height": 32}
        (photos / "1.json").write_text(json.dumps(said))
    options = {"dataset": dataset, "resume": True, "generator": {"points_per_side": 2}}
    options["format"] = {"coco": "coco", "sa1b": "sa1b", "labelme": "labelme"}.get(dataset, "png")
    source = photos / "**" / "*" if pattern else photos
    first = run(source, photos / "out", **options)
    second = run(source, photos / "out", **options)
    assert (first.failed, first.errors, second.errors) == (0, 0, 0)
    assert (second.total, second.kept) == (first.total, first.total)


@pytest.mark.parametrize("ids", [("1", "b"), (1, "b")])
def test_results_that_number_photos_by_their_names_are_read_for_a_numbered_set(tmp_path, ids):
    data = coco_set(tmp_path / "photos", ids=(70, 80))
    results = tmp_path / "results.json"
    boxes = [{"image_id": number, "bbox": [4, 4, 20, 20], "score": 0.5} for number in ids]
    results.write_text(json.dumps(boxes))
    assert run(data, tmp_path / "out", prompts=results).masks == 2
    results.write_text(json.dumps([{**box, "image_id": "another"} for box in boxes]))
    with pytest.raises(DetectionError, match="names none of the 2 photos"):
        Batch(data, tmp_path / "other", prompts=results)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"formt": "png"}, "no option formt"),
        ({"memory_limit": "8GB"}, "memory_limit must be a whole"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, option, message):
    draw(tmp_path / "1.png", 0)
    with pytest.raises(ArgumentError, match=message):
        Batch(tmp_path / "1.png", tmp_path / "out", **option)


@pytest.mark.parametrize("source", ["", "-"])
def test_nothing_is_not_the_current_folder(tmp_path, source):
    with pytest.raises(ImageError, match="is no photo of a set"):
        Batch(source, tmp_path / "out")
