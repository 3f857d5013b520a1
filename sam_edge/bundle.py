"""The bundle on disk: its manifest, checked once at the door, and the bytes of its files.

Everything behind it may trust what the manifest says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path, PureWindowsPath
from typing import Any

from sam_edge.errors import ChecksumError, JsonFileError, ManifestError, ModelNotFoundError
from sam_edge.files import parse_json
from sam_edge.spec import (
    DECODERS,
    FRAME_STEP,
    FRAMES,
    IMAGE_EMBEDDINGS,
    LARGEST_FRAME,
    OFFICIAL_EMBEDDINGS,
    OFFICIAL_THRESHOLDS,
    PRECISIONS,
    RESIZES,
    BundleSpec,
    EmbeddingSpec,
    GraphFile,
    ImageSpec,
    MaskSpec,
    ModelSpec,
    Source,
    TensorInfo,
    Thresholds,
)
from sam_edge.text import is_printable, shown
from sam_edge_runtimes import ENGINES
from sam_edge_runtimes.graph_file import examine, sha256_file

MANIFEST_NAME = "manifest.json"

SCHEMA = 2
"""What is written. Every schema from 1 on is read; ``docs/bundle.md`` has the policy."""

SEGMENTATION, GROUNDING = KINDS = ("segmentation", "grounding")
"""What a bundle does: masks for points and boxes, or boxes for words. A manifest that does not say
is of the first."""


def read_spec(directory: Path) -> ModelSpec:
    """Read and check a bundle's manifest, and the sizes (not the hashes) of its files.

    Raises:
        ModelNotFoundError: if the directory is no bundle.
        ManifestError: if a newer sam-edge wrote it, a field is missing, unknown or of the wrong
            kind, or a file is absent or of another size.
    """
    spec = parse_manifest(manifest_bytes(directory), directory / MANIFEST_NAME)
    check_sizes(directory, spec.graphs)
    return spec


def manifest_bytes(directory: Path) -> bytes:
    """Return a bundle's manifest as it is on disk.

    Raises:
        ModelNotFoundError: if the directory is no bundle.
        ManifestError: if it cannot be read.
    """
    path = directory / MANIFEST_NAME
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFoundError(
            f"{directory} is not a bundle (it has no {MANIFEST_NAME}); "
            "make one with: sam-edge export CHECKPOINT -o BUNDLE"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error


def check_sizes(directory: Path, graphs: Iterable[GraphFile]) -> None:
    """Compare the sizes of a bundle's graphs with its manifest.

    Raises:
        ManifestError: if a file is absent or of another size.
    """
    for graph in graphs:
        check_size(directory / graph.file, graph.size_bytes)
        for name in graph.external_data:
            if not (directory / name).is_file():
                raise ManifestError(
                    f"{directory / name} is missing; export or pull the bundle again"
                )


def check_size(file: Path, size_bytes: int) -> None:
    """Compare a file's size with what its manifest says.

    Raises:
        ManifestError: if it is absent or of another size.
    """
    actual = file.stat().st_size if file.is_file() else None
    if actual != size_bytes:
        found = "is missing" if actual is None else f"has {actual} bytes"
        raise ManifestError(
            f"{file} {found}, its manifest says {size_bytes} bytes; export or pull the bundle again"
        )


def parse_manifest(text: str | bytes, path: Path) -> ModelSpec:
    """Turn a manifest's text into a spec. ``path`` is only for messages.

    Raises:
        ManifestError: as for ``read_spec``.
    """
    schema, kind, manifest = manifest_fields(text, path)
    if kind != SEGMENTATION:
        raise ManifestError(
            f"{path} is of a {kind} bundle, which finds the boxes of words and makes no masks; "
            "name it with --grounder (in Python: sam_edge.load_grounder)"
        )
    with naming_fields(path):
        if schema == 1:
            manifest = _from_schema_1(manifest)
        manifest |= shared_fields(manifest)
        manifest["embeddings"] = tuple(
            EmbeddingSpec(**entry) for entry in listed(manifest, "embeddings")
        )
        masks = manifest["masks"]
        manifest["masks"] = MaskSpec(**{**masks, "candidates": tuple(listed(masks, "candidates"))})
        manifest["everything"] = Thresholds(**manifest["everything"])
        spec = ModelSpec(**manifest)
        check_shared(spec)
        _check(spec)
    return spec


def manifest_fields(text: str | bytes, path: Path) -> tuple[int, str, dict[str, Any]]:
    """Read a manifest of any kind as far as every kind is alike.

    Returns:
        Its schema, its kind, and the other fields.

    Raises:
        ManifestError: if it is none, of a kind or a schema that is not known, or holds control
            characters.
    """
    try:
        manifest = parse_json(text, str(path))
    except JsonFileError as error:
        raise ManifestError(str(error)) from error
    if not isinstance(manifest, dict) or type(manifest.get("schema")) is not int:
        raise ManifestError(f"{path} has no schema number; it is not a sam-edge manifest")
    schema = manifest.pop("schema")
    if not 1 <= schema <= SCHEMA:
        step = "upgrade sam-edge" if schema > SCHEMA else "export the bundle again"
        raise ManifestError(
            f"{path}: manifest schema {schema}, this sam-edge reads 1 to {SCHEMA}; {step}"
        )
    if not all(map(is_printable, _texts(manifest))):
        raise ManifestError(f"{path} holds control characters; a bundle's texts have none")
    kind = manifest.pop("kind", SEGMENTATION)
    if kind not in KINDS:
        raise ManifestError(
            f"{path}: a bundle of the kind {shown(kind)}, this sam-edge knows "
            f"{' and '.join(KINDS)}; upgrade sam-edge"
        )
    return schema, kind, manifest


def kind_of(directory: Path) -> str:
    """Return which of ``KINDS`` a bundle is of.

    Raises:
        ModelNotFoundError: if the directory is no bundle.
        ManifestError: if its manifest cannot be read.
    """
    return manifest_fields(manifest_bytes(directory), directory / MANIFEST_NAME)[1]


@contextmanager
def naming_fields(path: Path) -> Iterator[None]:
    """Turn what a dataclass says of a manifest's fields into a ``ManifestError``."""
    try:
        yield
    except KeyError as error:
        raise ManifestError(f"{path}: the field {str(error)[:60]} is missing") from error
    except (TypeError, ValueError) as error:
        # dataclasses name the missing or unknown field, which may be as long as the file
        raise ManifestError(f"{path}: {str(error)[:300]}") from error


def shared_fields(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a manifest, as values, that every kind of bundle has."""
    fields: dict[str, Any] = {
        "graphs": tuple(_graph(entry) for entry in listed(manifest, "graphs")),
        "source": Source(**manifest["source"]),
        "image": _image(manifest["image"]),
    }
    for name in ("notes", "fidelity"):
        if name in manifest:
            fields[name] = tuple(listed(manifest, name))
    return fields


def manifest_text(spec: ModelSpec) -> str:
    """Return the manifest of a spec as JSON text.

    >>> import pathlib
    >>> from sam_edge.spec import _DOCTEST_SPEC
    >>> text = manifest_text(_DOCTEST_SPEC)
    >>> parse_manifest(text, pathlib.Path("manifest.json")) == _DOCTEST_SPEC
    True
    """
    return json.dumps({"schema": SCHEMA, **asdict(spec)}, indent=2) + "\n"


def checked_digest(directory: Path, graph: GraphFile) -> str:
    """Return what identifies a graph's bytes, external data included, once they are the promised.

    Raises:
        OSError: if a file cannot be read.
        EngineError: if the graph says where external data is, but is damaged.
        ManifestError: if the graph reads other files than the manifest lists.
        ChecksumError: if the bytes of a file are not those promised.
    """
    path = directory / graph.file
    actual, external = examine(path)
    compare_digest(path, actual, graph.sha256)
    if external != set(graph.external_data):
        name = sorted(external ^ set(graph.external_data))[0]
        raise ManifestError(
            f"{path}: the manifest and the graph disagree on its external data {name!r}; "
            "export or pull the bundle again"
        )
    if not external:
        return actual
    import hashlib  # late, as in sam_edge.image

    digests = [actual]
    for name in sorted(external):
        digests.append(sha256_file(directory / name))
        compare_digest(directory / name, digests[-1], graph.external_data[name])
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def check_hashes(directory: Path, spec: BundleSpec) -> None:
    """Compare every graph of a bundle with its manifest.

    Raises:
        ChecksumError: at the first file whose bytes are not those promised.
        ManifestError: if a graph reads other files than the manifest lists.
    """
    for graph in spec.graphs:
        checked_digest(directory, graph)


def compare_digest(path: Path, actual: str, expected: str) -> None:
    """Refuse a file whose sha256 is not what its manifest promises.

    Raises:
        ChecksumError: naming it.
    """
    if actual != expected:
        raise ChecksumError(
            f"{path} has sha256 {actual[:12]}..., its manifest says "
            f"{expected[:12]}...; export or pull the bundle again"
        )


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON is anything
    """Yield every text in a JSON value, keys included."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


def listed(entry: Mapping[str, Any], name: str) -> list[Any]:
    """Return a field that must be a list: a text would otherwise be taken letter by letter."""
    values = entry[name]
    if not isinstance(values, list):
        raise TypeError(f"{name} must be a list, got {shown(values)}")
    return values


def _from_schema_1(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest of schema 1 in the words of schema 2; see ``docs/bundle.md``."""
    old = ("image_size", "pixel_mean", "pixel_std", "mask_threshold", "frame")
    source = manifest["source"]
    # It was told by the file's name, and was a sentence among the notes.
    random = "random weights: its masks mean nothing" in listed({"notes": [], **manifest}, "notes")
    small = manifest.get("variant") == "nano"
    return {
        **{name: value for name, value in manifest.items() if name not in old},
        "source": {**source, "random": random},
        "image": {
            "size": manifest["image_size"],
            "mean": manifest["pixel_mean"],
            "std": manifest["pixel_std"],
            "frame": manifest.get("frame", "square"),
        },
        "embeddings": list(map(asdict, OFFICIAL_EMBEDDINGS)),
        "masks": {"candidates": [1, 2, 3], "threshold": manifest["mask_threshold"]},
        "everything": asdict(Thresholds(0.4, 0.3) if small else OFFICIAL_THRESHOLDS),
    }


def _image(entry: Mapping[str, Any]) -> ImageSpec:
    colours = {name: tuple(listed(entry, name)) for name in ("mean", "std")}
    return ImageSpec(**{**entry, **colours})


def _graph(entry: Mapping[str, Any]) -> GraphFile:
    known = {item.name for item in fields(GraphFile)}
    values = {
        **entry,
        "engines": tuple(listed(entry, "engines")),
        "inputs": tuple(_tensor(tensor) for tensor in listed(entry, "inputs")),
        "outputs": tuple(_tensor(tensor) for tensor in listed(entry, "outputs")),
    }
    unknown = sorted(set(values) - known)
    if unknown:
        raise TypeError(f"unknown field {unknown[0]!r} in a graph entry")
    return GraphFile(**values)


def _tensor(entry: Mapping[str, Any]) -> TensorInfo:
    return TensorInfo(entry["name"], entry["dtype"], tuple(listed(entry, "shape")))


def check_shared(spec: BundleSpec) -> None:
    """Refuse values of any kind of bundle that would only fail later, or do harm.

    Raises:
        TypeError: naming a field of the wrong kind.
        ValueError: naming a value.
    """
    size = spec.image.size
    if type(size) is not int or not 64 <= size <= LARGEST_FRAME or size % FRAME_STEP:
        raise ValueError(f"image size {shown(size)} is not a multiple of 64 up to {LARGEST_FRAME}")
    one_of("precision", spec.precision, PRECISIONS)
    for name, values in (("mean", spec.image.mean), ("std", spec.image.std)):
        if len(values) != 3 or not all(map(is_number, values)):
            raise ValueError(f"{name} must be three numbers, got {shown(list(values))}")
    if min(spec.image.std) < 1e-6:
        raise ValueError(f"std divides, so it must be positive, got {shown(list(spec.image.std))}")
    if type(spec.source.random) is not bool:
        raise TypeError(f"random is true or false, got {shown(spec.source.random)}")
    texts = {"variant": spec.variant}
    texts |= {name: getattr(spec.source, name) for name in ("file", "sha256", "licence")}
    texts |= {f"exporter {name}": version for name, version in mapping(spec, "exporter").items()}
    texts |= {f"note {number}": note for number, note in enumerate(spec.notes)}
    for name, text in texts.items():
        check_text(name, text)
    check_digest("source", spec.source.sha256)
    if spec.quantization is not None:
        mapping(spec, "quantization")
    for entry in spec.fidelity:
        if not isinstance(entry, dict) or not isinstance(entry.get("engine"), str):
            raise TypeError(f"an entry of fidelity must name its engine, got {shown(entry)}")
    if type(spec.opset) is not int:
        raise TypeError(f"opset must be a whole number, got {shown(spec.opset)}")
    for graph in spec.graphs:
        _check_graph(graph)


def _check(spec: ModelSpec) -> None:
    """Refuse what a model of masks cannot be; raises as ``check_shared``."""
    one_of("decoder", spec.decoder, DECODERS)
    one_of("resize", spec.image.resize, RESIZES)
    one_of("frame", spec.image.frame, FRAMES)
    for name, number in (("threshold", spec.masks.threshold), *asdict(spec.everything).items()):
        if not is_number(number):
            raise ValueError(f"{name} must be a number, got {shown(number)}")
    check_text("score", spec.masks.score)
    _check_tensors_between(spec)


def one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a word that is not one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} {shown(value)} is not one of {', '.join(allowed)}")


def check_text(name: str, text: object) -> None:
    """Refuse what is no text."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a text, got {shown(text)}")


def _check_tensors_between(spec: ModelSpec) -> None:
    """Refuse shapes that would take the memory, and indices that no output has."""
    names = [entry.name for entry in spec.embeddings]
    if names[:1] != [IMAGE_EMBEDDINGS] or len(set(map(str, names))) != len(names):
        raise ValueError(f"embeddings begin with {IMAGE_EMBEDDINGS}, got {shown(names)}")
    for entry in spec.embeddings:
        if not isinstance(entry.name, str) or re.fullmatch(r"\w{1,64}", entry.name) is None:
            raise ValueError(f"a tensor's name has letters and digits, got {shown(entry.name)}")
        check_whole(f"channels of {entry.name}", entry.channels, 1, 4096)
    for stride in (spec.masks.stride, *(entry.stride for entry in spec.embeddings)):
        check_whole("stride", stride, 1, 64)
        if FRAME_STEP % stride:
            raise ValueError(f"stride {stride} does not divide {FRAME_STEP}")
    if not spec.masks.candidates:
        raise ValueError("masks have no candidates")
    for index in (spec.masks.single, *spec.masks.candidates):
        check_whole("the index of a mask", index, 0, 15)


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """Refuse what is no whole number between two."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(
            f"{name} must be a whole number from {least} to {most}, got {shown(value)}"
        )


def _check_graph(graph: GraphFile) -> None:
    if not isinstance(graph.role, str) or graph.precision not in PRECISIONS:
        raise ValueError(
            f"a graph of role {shown(graph.role)} and precision {shown(graph.precision)}"
        )
    if type(graph.size_bytes) is not int or graph.size_bytes < 0:
        raise ValueError(f"size_bytes must be a whole number, got {shown(graph.size_bytes)}")
    for engine in graph.engines:
        if engine not in ENGINES:
            raise ValueError(f"engine {shown(engine)} is not one of {', '.join(ENGINES)}")
    for name, digest in ((graph.file, graph.sha256), *mapping(graph, "external_data").items()):
        check_file_name(name)
        check_digest(str(name), digest)
    if not graph.file.endswith(".onnx"):
        # Engines choose how to read a file by its suffix, and other formats read other files.
        raise ValueError(f"file name {shown(graph.file)} must end in .onnx")
    for tensor in (*graph.inputs, *graph.outputs):
        texts = all(isinstance(text, str) for text in (tensor.name, tensor.dtype))
        if not texts or not all(type(size) in (str, int) for size in tensor.shape):
            raise TypeError(f"a tensor needs name, dtype and shape, got {shown(tensor)}")


def check_file_name(name: object) -> None:
    """Refuse a name that may reach out of the bundle: a manifest comes from outside."""
    if (
        not isinstance(name, str)
        or PureWindowsPath(name).name != name  # on Windows, a colon reaches out, too
        or not 0 < len(name) <= 200
        or name in (".", "..", MANIFEST_NAME)
    ):
        raise ValueError(f"file name {shown(name)} must not hold a separator")


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """Return a field that must be an object."""
    found: Mapping[str, Any] = getattr(value, name)
    if not isinstance(found, dict):
        raise TypeError(f"{name} must be an object, got {shown(found)}")
    return found


def check_digest(name: str, digest: object) -> None:
    """Refuse what is no sha256."""
    # It becomes the name of a folder in the cache.
    if not isinstance(digest, str) or re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise ValueError(f"sha256 of {name} must be 64 hexadecimal digits, got {shown(digest)}")


def is_number(value: object) -> bool:
    """Whether a value is a number that arithmetic can be done with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) < 1e30
