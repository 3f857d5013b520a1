"""Checkpoints as trainers, hubs and strangers make them: read, or called what they are."""

import argparse
import datetime
import gzip
import io
import json
import os
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sam_edge.checkpoints import CheckpointError, source_sha256
from sam_edge_export.load import load_checkpoint

ANCHOR = "mask_decoder.iou_token.weight"


@pytest.fixture(scope="module")
def state(nano_checkpoint):
    return torch.load(nano_checkpoint, weights_only=True)


@pytest.fixture
def saved(tmp_path):
    """Save whatever it is, and give the file."""

    def save(content, **how):
        torch.save(content, tmp_path / "model.pth", **how)
        return tmp_path / "model.pth"

    return save


def same_weights(path, state):
    sam, notes = load_checkpoint(path, image_size=256)
    ours = sam.state_dict()
    assert all(torch.equal(ours[name], state[name]) for name in ours if "num_batches" not in name)
    return notes


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, image_size=256)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def nested(state):
    """A dictionary a module."""
    modules = {}
    for name, tensor in state.items():
        module, _, rest = name.partition(".")
        modules.setdefault(module, {})[rest] = tensor
    return modules


WRAPPERS = {
    "state_dict": lambda state: {"state_dict": state},
    "model.module": lambda state: {"model": {"module": state}},
    "net": lambda state: {"net": state, "best_dice": 0.9},
    "weights": lambda state: {"whatever": {"is": {"around": {"it": prefixed(state, "x.y.z.")}}}},
    "in a list": lambda state: [{"epoch": 3}, state],
    "a dictionary a module": lambda state: {"model": nested(state)},
    "lightning": lambda state: {
        "state_dict": prefixed(state, "model.net."),
        "epoch": 3,
        "hyper_parameters": argparse.Namespace(lr=1e-4, out=pathlib.PurePosixPath("runs/1")),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{}]}],
        "loops": {"fit_loop": {"epoch_progress": {"current": {"ready": 4}}}},
    },
    "mmengine": lambda state: {
        "meta": {"epoch": 12, "time": datetime.datetime(2024, 1, 1)},
        "state_dict": prefixed(state, "module.sam."),
        "message_hub": {"log_scalars": [np.float64(0.25), np.arange(3)]},
    },
    "torch.compile": lambda state: prefixed(state, "_orig_mod."),
    "torch.compile of the encoder": lambda state: {
        name.replace("image_encoder.", "image_encoder._orig_mod."): tensor
        for name, tensor in state.items()
    },
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_weights_are_found_in_any_wrapper(state, saved, wrapper):
    assert same_weights(saved(WRAPPERS[wrapper](state)), state) == []


class Config:
    """A class that nobody else has."""

    def __init__(self):
        self.classes = {"cup", "hand"}


def test_what_is_no_tensor_is_left_unread(state, saved):
    content = {
        **state,
        "config": Config(),
        "args": argparse.Namespace(resume=None),
        "path": pathlib.PurePosixPath("a/b"),
        "score": np.float32(0.5),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "set": {1, 2},
        "bytes": b"\x00",
        "when": datetime.datetime(2024, 1, 1),
    }
    assert same_weights(saved(content), state) == []


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_writes_is_read(state, saved, protocol):
    content = {"model": state, "args": argparse.Namespace(lr=1e-4)}
    assert same_weights(saved(content, pickle_protocol=protocol), state) == []


def test_the_format_before_torch_1_6_is_read(state, saved):
    """One that holds plain tensors was read before, too."""
    content = {"model": state, "args": argparse.Namespace(lr=1e-4)}
    assert same_weights(saved(content, _use_new_zipfile_serialization=False), state) == []


def test_the_trained_weights_are_taken_before_an_average_and_a_note_says_so(state, saved):
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    notes = same_weights(saved({"ema": {"module": other}, "model": state}), state)
    assert notes == ["weights of model, not those of ema.module"]
    assert same_weights(saved({"model_ema": state, "epoch": 1}), state) == []
    assert same_weights(saved({**state, "teacher": other}), state) == [
        "weights of the top, not those of teacher"
    ]


def hugging_face_name(name):
    name = name.replace("image_encoder.", "vision_encoder.")
    layers = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
    pattern = r"(mlps\.\d|iou_prediction_head)\.layers\.(\d)"
    return re.sub(pattern, lambda found: f"{found[1]}.{layers[found[2]]}", name)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_hugging_face_names_are_known_in_any_container(state, tmp_path, prefix, suffix):
    table = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    theirs = {
        prefix + hugging_face_name(name): tensor for name, tensor in state.items() if name != table
    }
    theirs[f"{prefix}shared_image_embedding.positional_embedding"] = state[table]
    theirs[f"{prefix}prompt_encoder.shared_embedding.positional_embedding"] = state[table].clone()
    path = tmp_path / f"model{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(theirs, path)
    assert same_weights(path, state) == []


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_runs_nothing(state, saved, tmp_path, zipped):
    canary = tmp_path / "canary"
    command = f"touch {canary}"
    content = {
        "hooks": [
            Runs(os.system, command),
            Runs(eval, f"open({str(canary)!r}, 'w')"),
            Runs(exec, f"open({str(canary)!r}, 'w')"),
            Runs(subprocess.check_call, ["touch", str(canary)]),
            Runs(pathlib.Path.touch, pathlib.PurePosixPath(canary)),
            argparse.Namespace(inner=Runs(os.system, command)),
        ],
        "model": state,
    }
    path = saved(content, _use_new_zipfile_serialization=zipped)
    assert same_weights(path, state) == []
    path.write_bytes(pickle.dumps(Runs(os.system, command)))
    assert "will not be executed" in refusal(path)
    assert not canary.exists()


def test_a_whole_model_says_how_to_save_its_weights(saved):
    message = refusal(saved({"model": nn.Sequential(nn.Linear(2, 2))}))
    assert "torch.nn.modules.container.Sequential" in message
    assert "save its state_dict() instead" in message


def sparse(tensor):
    return tensor.to_sparse()


def quantised(tensor):
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def on_meta(tensor):
    return tensor.to("meta")


def beyond(tensor):
    tensor = tensor.double()
    tensor[0, 0] = 1e300
    return tensor


@pytest.mark.filterwarnings("ignore:.*")  # torch's, of its own prototypes and plans
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (sparse, "is sparse"),
        (quantised, "is quantised"),
        (on_meta, "has no values"),
        (lambda tensor: torch.nested.nested_tensor([tensor]), "is nested"),
        (lambda tensor: tensor.to(torch.float8_e4m3fn), "holds float8_e4m3fn"),
        (lambda tensor: tensor.to(torch.complex64), "holds complex64"),
        (lambda tensor: tensor.to(torch.int8), "holds int8"),
        (lambda tensor: tensor > 0, "holds bool"),
        (beyond, "holds values beyond float32, up to 1e+300"),
    ],
)
def test_what_is_no_plain_weight_is_named(state, saved, change, words):
    message = refusal(saved({**state, ANCHOR: change(state[ANCHOR].clone())}))
    assert ANCHOR in message
    assert words in message


def test_views_are_read_as_they_are_seen(state, saved):
    """Transposed, with a gradient, doubles, and two tensors of one storage: legitimate before."""
    pair = torch.stack([state[ANCHOR], state[ANCHOR] + 1])
    name = "mask_decoder.mask_tokens.weight"
    content = {
        **state,
        ANCHOR: nn.Parameter(pair[0]),
        name: state[name].T.contiguous().T.double(),
        "pixel_mean": pair[1],
    }
    assert same_weights(saved(content), state) == []


def test_brain_floats_are_widened(state, tmp_path):
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    truth = {name: tensor.float() for name, tensor in half.items()}
    torch.save(half, tmp_path / "model.pth")
    save_file(half, tmp_path / "model.safetensors")
    assert same_weights(tmp_path / "model.pth", truth) == []
    assert same_weights(tmp_path / "model.safetensors", truth) == []


def test_damage_is_found_wherever_it_is(state, saved):
    path = saved(state)
    whole = path.read_bytes()
    for size in (1, 3, 40, 1000, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "truncated or damaged" in refusal(path)
    at = whole.index(state[ANCHOR].numpy().tobytes())
    path.write_bytes(whole[: at + 5] + bytes([whole[at + 5] ^ 1]) + whole[at + 6 :])
    assert f"{ANCHOR} is damaged: its checksum is another" in refusal(path)


def test_checksums_that_were_not_written_are_not_compared(state, saved):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(state)
    finally:
        torch.serialization.set_crc32_options(True)
    assert same_weights(path, state) == []


def archive_of(path, entries, **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def gzipped(path):
    path.write_bytes(gzip.compress(b"weights"))


def tarred(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"), io.BytesIO())


def scripted(path):
    archive_of(path, {"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/a.py": b""})


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 375042383\n"
MISTAKEN = {
    "Git LFS pointer": lambda path: path.write_bytes(POINTER),
    "web page": lambda path: path.write_text("\n <!DOCTYPE html>\n<html><body>404</body></html>"),
    "is empty": lambda path: path.write_bytes(b""),
    "gzip archive; unpack it": gzipped,
    "tar archive; unpack it": tarred,
    "7-Zip": lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100)),
    "JSON file": lambda path: path.write_text('{"message": "Not Found"}'),
    "TorchScript": scripted,
    "zip archive, but none of torch": lambda path: archive_of(path, {"a.pth": b"weights"}),
    "compressed archive": lambda path: archive_of(
        path, {"a/data.pkl": b"}."}, compression=zipfile.ZIP_DEFLATED
    ),
    "is a folder": lambda path: path.mkdir(),
    "no regular file": lambda path: path.symlink_to(os.devnull),
}


@pytest.mark.parametrize("words", MISTAKEN)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, words):
    path = tmp_path / "model.pth"
    MISTAKEN[words](path)
    assert words in refusal(path)


def test_an_onnx_graph_is_called_what_it_is(nano_bundle):
    assert "is an ONNX graph" in refusal(next(nano_bundle.glob("*.onnx")))


def zipped_pickle(path, program):
    archive_of(path, {"a/data.pkl": program, "a/version": b"3"})


def test_strange_pickles_get_one_line(tmp_path):
    doubled = b"".join(b"2\x86" for _ in range(60))
    programs = {
        "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
        "deep tuples": b")" + b"\x85" * 100_000 + b".",
        "deep tuples as a name": b"})" + b"\x85" * 100_000 + b"K\x01s.",
        "doubled as a name": b"})" + doubled + b"K\x01s.",
        "itself": b"}q\x00X\x01\x00\x00\x00ah\x00s.",
        "far memo": b"}r\xff\xff\xff\xff.",
        "long text": b"\x8d" + struct.pack("<Q", 2**62) + b"a.",
        "long number": b"\x8b" + struct.pack("<i", 2**30) + b"1.",
        "extension": b"\x82\x01.",
        "text protocol": b"cos\nsystem\n(S'true'\ntR.",
        "stack underflow": b"0000.",
        "endless": b"N" * 1_000_002,
        "many names": b"}(" + b"X\x01\x00\x00\x00aNX\x01\x00\x00\x00bN" * 9_000 + b"u.",
        "no storage": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.",
        "type of a type": b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n"
        b"_rebuild_from_type_v2\nN)NtR.",
        "not unicode": b"X\x01\x00\x00\x00\xff.",
        "global": b"ctorch\nfloat\n.",
        "empty": b"",
    }
    for name, program in programs.items():
        zipped_pickle(tmp_path / f"{name}.pth", program)
        refusal(tmp_path / f"{name}.pth")


def header(path, text, data=b""):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_strange_safetensors_get_one_line(tmp_path):
    path = tmp_path / "model.safetensors"
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps(one)
    for odd in (
        {"a": {**one, "shape": [2]}},
        {"a": {**one, "shape": [-1]}},
        {"a": {**one, "shape": [2**62, 2**62, 0]}},
        {"a": {**one, "shape": ["4" * 9]}},
        {"a": {**one, "shape": [1] * 100_000}},
        {"a": {**one, "data_offsets": [0, 2**70]}},
        {"a": {**one, "data_offsets": [4, 0]}},
        {"a": {**one, "data_offsets": [-4, 0]}},
        {"a": {**one, "data_offsets": None}},
        {"a": {**one, "dtype": []}},
        {"a": [], "__metadata__": 3},
        [],
        f'{{"a": {text}, "a": {{"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}}}'.encode(),
        b'{"a": ' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"{",
    ):
        header(path, odd, bytes(4 if isinstance(odd, dict) else 8))
        assert "damaged" in refusal(path)
    path.write_bytes(struct.pack("<Q", 2**39) + b'{"a": 1}')
    assert "its header is longer than the file" in refusal(path)
    header(path, {"a\x1b[2J\n": one}, bytes(4))
    assert "\x1b" not in refusal(path)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F4", "weird\x1b[2J"])
def test_types_in_safetensors_that_are_no_weights_are_named(state, tmp_path, dtype):
    """What is beside the weights may have any type."""
    path = tmp_path / "model.safetensors"
    save_file({**state, "zz.bytes": torch.zeros(8)}, path, {"image_size": "256"})
    size = int.from_bytes(path.read_bytes()[:8], "little")
    body = path.read_bytes()
    entries = json.loads(body[8 : 8 + size])
    entries[ANCHOR] |= {"dtype": dtype, "shape": [1, 256]}
    header(path, entries, body[8 + size :])
    message = refusal(path)
    assert "\x1b" not in message
    assert ANCHOR in message


@pytest.mark.parametrize("size", ["9" * 5000, "0", "1000", "99999999", "٣٨٤", "-1", ""])
def test_an_odd_image_size_in_metadata_gets_one_line_or_is_not_used(state, tmp_path, size):
    path = tmp_path / "model.safetensors"
    save_file(state, path, {"image_size": size})
    if size in ("0", "1000", "99999999"):
        with pytest.raises(CheckpointError, match=f"trained at the image size {size}: expected a"):
            load_checkpoint(path)
    else:
        assert load_checkpoint(path)[0].image_size == 384


CONFIGS = (
    b"null",
    b"[" * 100_000,
    b'{"model_type": NaN}',
    b'{"model_type": ' + b"9" * 5000 + b"}",
    b'{"model_type": ["sam"]}',
    b'{"model_type": "\\u001b[2J"}',
    b"\xff\xfe",
)


@pytest.mark.parametrize("config", CONFIGS)
def test_odd_configurations_of_hugging_face_get_one_line(tmp_path, config):
    (tmp_path / "config.json").write_bytes(config)
    assert "\x1b" not in refusal(tmp_path)


def test_a_configuration_with_a_byte_order_mark_is_read(state, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "sam"}', encoding="utf-8-sig")
    save_file(state, tmp_path / "model.safetensors")
    assert same_weights(tmp_path, state) == []
    assert len(source_sha256(tmp_path)) == 64


def test_a_folder_of_the_older_hugging_face_format_is_read(state, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert same_weights(tmp_path, state) == []


@pytest.mark.parametrize(
    "names",
    [["../x"], ["/etc/passwd"], ["a\\b"], [".."], [""], [3], [None], [["a"]], ["\x1b[2J"], "text"],
    ids=repr,
)  # fmt: skip
def test_an_index_that_leaves_its_folder_is_refused(tmp_path, names):
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    index = {"weight_map": dict(enumerate(names)) if isinstance(names, list) else names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    message = refusal(tmp_path)
    assert "names a file outside its folder" in message or "is no index" in message
    with pytest.raises(CheckpointError):
        source_sha256(tmp_path)


BOMBS = """
    import resource, struct, sys, zipfile
    from pathlib import Path
    from sam_edge.checkpoints import CheckpointError
    from sam_edge_export.load import load_checkpoint

    folder = Path(sys.argv[1])
    def tensor(shape, strides):
        numbers = lambda values: b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"
        storage = b"(" + text(b"storage") + b"ctorch\\nFloatStorage\\n" + text(b"0") + b"NK\\x01tQ"
        view = storage + b"K\\x00" + numbers(shape) + numbers(strides)
        return b"ctorch._utils\\n_rebuild_tensor_v2\\n(" + view + b"\\x89}tR"
    def text(name):
        return b"X" + struct.pack("<I", len(name)) + name
    def checkpoint(name, program):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("a/data.pkl", program)
            archive.writestr("a/data/0", bytes(4))
        return folder / name
    anchor = text(b"mask_decoder.iou_token.weight") + tensor((1, 256), (0, 0))
    grid = 2**20
    table = text(b"image_encoder.pos_embed") + tensor((1, grid, grid, 768), (0, 0, 0, 0))
    patch = text(b"image_encoder.patch_embed.proj.weight") + tensor((768, 3, 16, 16), (0,) * 4)
    shared = b"}r\\1\\0\\0\\0" + b"".join(
        text(b"x" * 200 + b"%d" % n) + tensor((1,), (1,)) + b"s" for n in range(100))
    wide = text(b"y" * 10_000_000) + shared + b"s"
    files = [
        checkpoint("grid.pth", b"}(" + anchor + patch + table + b"u."),
        checkpoint("wide.pth", b"}" + wide + b"."),
        checkpoint("objects.pth", b"}" + text(b"a") + b"](" + b"}" * 200_000 + b"es."),
    ]
    header = b'{"a": [' + b"[]," * 1_000_000 + b"[]]}"
    odd = folder / "odd.safetensors"
    odd.write_bytes(struct.pack("<Q", len(header)) + header)
    long = folder / "long.safetensors"
    with long.open("wb") as file:
        file.write(struct.pack("<Q", 2**31) + b"{")
        file.truncate(2**32)  # a hole: it takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in (*files, odd, long):
        try:
            load_checkpoint(path, image_size=1024)
        except CheckpointError:
            continue
        sys.exit(f"{path} was read")
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_small_files_take_no_large_memory(tmp_path):
    code = textwrap.dedent(BOMBS)
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
    assert float(done.stdout) < 300
