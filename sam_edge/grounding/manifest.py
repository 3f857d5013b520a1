"""A grounding bundle's manifest: read, checked and written, as ``sam_edge.bundle`` does others."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from sam_edge.bundle import (
    GROUNDING,
    MANIFEST_NAME,
    SCHEMA,
    check_digest,
    check_file_name,
    check_hashes,
    check_shared,
    check_size,
    check_sizes,
    check_whole,
    compare_digest,
    is_number,
    manifest_bytes,
    manifest_fields,
    naming_fields,
    one_of,
    shared_fields,
)
from sam_edge.errors import ManifestError
from sam_edge.files import write_text
from sam_edge.spec import (
    GROUNDING_RESIZES,
    IMAGE_TOWER,
    TEXT_TOWER,
    GroundingSpec,
    TokenizerFile,
)
from sam_edge.text import shown
from sam_edge_runtimes.graph_file import sha256_file


def read_grounding_spec(directory: Path) -> GroundingSpec:
    """Read and check a grounding bundle's manifest, and the sizes (not the hashes) of its files.

    Raises:
        ModelNotFoundError: if the directory is no bundle.
        ManifestError: if it is of another kind, or not to be trusted; see ``read_spec``.
    """
    spec = parse_grounding_manifest(manifest_bytes(directory), directory / MANIFEST_NAME)
    check_sizes(directory, spec.graphs)
    check_size(directory / spec.tokenizer.file, spec.tokenizer.size_bytes)
    return spec


def parse_grounding_manifest(text: str | bytes, path: Path) -> GroundingSpec:
    """Turn a grounding bundle's manifest into a spec. ``path`` is only for messages.

    Raises:
        ManifestError: as for ``read_grounding_spec``.
    """
    _, kind, manifest = manifest_fields(text, path)
    if kind != GROUNDING:
        raise ManifestError(
            f"{path} is of a model that makes masks, not of one that finds the boxes of words; "
            "name it with -m (in Python: sam_edge.load_model)"
        )
    with naming_fields(path):
        manifest |= shared_fields(manifest)
        manifest["tokenizer"] = TokenizerFile(**manifest["tokenizer"])
        spec = GroundingSpec(**manifest)
        check_shared(spec)
        _check(spec)
    return spec


def grounding_manifest_text(spec: GroundingSpec) -> str:
    """Return the manifest of a spec as JSON text."""
    return json.dumps({"schema": SCHEMA, "kind": GROUNDING, **asdict(spec)}, indent=2) + "\n"


def write_grounding_manifest(directory: Path, spec: GroundingSpec) -> None:
    """Write a grounding bundle's manifest."""
    write_text(directory / MANIFEST_NAME, grounding_manifest_text(spec))


def check_grounding_hashes(directory: Path, spec: GroundingSpec) -> None:
    """Compare every file of a bundle with its manifest.

    Raises:
        ChecksumError: at the first file whose bytes are not those promised.
        ManifestError: if a graph reads other files than the manifest lists.
    """
    check_hashes(directory, spec)
    check_tokenizer(directory, spec)


def check_tokenizer(directory: Path, spec: GroundingSpec) -> Path:
    """Return a bundle's tokenizer, once its bytes are the promised.

    Raises:
        ChecksumError: if they are not.
    """
    path = directory / spec.tokenizer.file
    compare_digest(path, sha256_file(path), spec.tokenizer.sha256)
    return path


def _check(spec: GroundingSpec) -> None:
    one_of("resize", spec.image.resize, GROUNDING_RESIZES)
    one_of("frame", spec.image.frame, ("square",))
    if not is_number(spec.threshold) or not 0 <= spec.threshold <= 1:
        raise ValueError(f"threshold must be a number from 0 to 1, got {shown(spec.threshold)}")
    check_file_name(spec.tokenizer.file)
    check_digest(spec.tokenizer.file, spec.tokenizer.sha256)
    check_whole("size_bytes of the tokenizer", spec.tokenizer.size_bytes, 0, 2**28)
    check_whole("length of a phrase", spec.tokenizer.length, 3, 1024)
    roles = {graph.role for graph in spec.graphs}
    if spec.graphs and roles != {IMAGE_TOWER, TEXT_TOWER}:
        raise ValueError(
            f"the roles are {IMAGE_TOWER} and {TEXT_TOWER}, got {shown(sorted(roles))}"
        )
