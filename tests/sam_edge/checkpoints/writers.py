"""Checkpoints written without torch, in its own format."""

import struct
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage"}


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value):
    return b"J" + struct.pack("<i", value)


def of_wholes(values):
    return b"(" + b"".join(map(whole, values)) + b"t"


def write_pth(path, tensors):
    """Write arrays as ``torch.save`` would a dictionary of tensors."""
    program = b"\x80\x02}("
    for number, (name, array) in enumerate(tensors.items()):
        strides = [stride // array.itemsize for stride in array.strides]
        storage = text("storage") + f"ctorch\n{STORAGES[array.dtype.name]}\n".encode()
        storage += text(str(number)) + text("cpu") + whole(array.size)
        program += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
        program += b"(" + storage + b"tQ" + whole(0)
        program += of_wholes(array.shape) + of_wholes(strides)
        program += b"\x89ccollections\nOrderedDict\n)RtR"
    program += b"u."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", program)
        for number, array in enumerate(tensors.values()):
            file.writestr(f"archive/data/{number}", np.ascontiguousarray(array).tobytes())
        file.writestr("archive/version", "3\n")
    return path


def seeded_weights(shapes, seed):
    """Random weights whose activations stay in the range that trained ones have."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        noise = rng.standard_normal(shape, np.float32)
        if name.endswith("running_var"):
            noise = np.abs(noise) + np.float32(0.5)
        elif len(shape) >= 2 and name.endswith("weight"):
            noise *= np.float32(np.prod(shape[1:]) ** -0.5)
        elif "gaussian_matrix" not in name:
            noise *= np.float32(0.05)
            if name.endswith("weight"):
                noise += 1
        weights[name] = noise
    return weights
