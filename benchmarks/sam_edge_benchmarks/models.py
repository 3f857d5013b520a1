"""Which model a name means, and the files that its subjects load."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sam_edge.bundle import read_spec
from sam_edge.spec import ModelSpec
from sam_edge.zoo import resolve
from sam_edge.zoo.table import named_models
from sam_edge_benchmarks.driver import Worker
from sam_edge_benchmarks.errors import BenchmarkError
from sam_edge_benchmarks.record import Facts
from sam_edge_benchmarks.subjects import SUBJECTS, Choice
from sam_edge_benchmarks.work import UnavailableError
from sam_edge_runtimes.graph_file import sha256_file

BOX = "box"
"""The name of the model in the box."""


@dataclass(slots=True)
class Model:
    """A model with its files, made as subjects ask for them.

    Attributes:
        name: what it was asked for by.
        variant: as in ``Work``.
        image_size: as in ``Work``.
        weights: as in ``Work``.
        seed: of seeded weights.
        checkpoint: the user's file, or None.
        decoder_weights: trained decoder for seeded weights, or None.
        bundle: the user's bundle, or None.
        spec: the bundle's.
    """

    name: str
    variant: str
    image_size: int
    weights: str
    seed: int = 0
    checkpoint: Path | None = None
    decoder_weights: Path | None = None
    bundle: Path | None = None
    spec: ModelSpec | None = None
    _made: dict[str, Path | UnavailableError | BenchmarkError] = field(default_factory=dict)

    def fits(self, choice: Choice) -> bool:
        """Whether the subject makes sense: a bundle has the precision that it has."""
        if self.spec is None:
            return True
        if choice.kind.model == "bundle":
            return choice.precision == self.spec.precision
        return self.checkpoint is not None

    def path(self, choice: Choice, cache: Path) -> Path:
        """Return what a subject loads, and make it first where it is not there.

        Raises:
            UnavailableError: if this machine cannot make it, for example without torch.
            BenchmarkError: if making it failed.
        """
        kind = choice.kind.model
        if kind == "bundle" and self.bundle is not None:
            return self.bundle
        key = kind if kind == "checkpoint" else f"{kind}-{choice.precision}"
        if key not in self._made:
            try:
                self._made[key] = self._make(choice, key, cache)
            except (UnavailableError, BenchmarkError) as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, Exception):
            raise made
        return made

    def _make(self, choice: Choice, key: str, cache: Path) -> Path:
        weights = hashlib.sha256(self.weights.encode()).hexdigest()[:12]
        folder = cache / f"{self.variant}-{self.image_size}-{weights}-{_exporter_digest()}"
        folder.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"variant": self.variant, "image_size": self.image_size}
        if key == "checkpoint":
            output = folder / "checkpoint.pth"
            module = SUBJECTS["ours-torch"].module
            arguments |= {
                "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
                "seed": self.seed,
                "decoder_weights": self.decoder_weights and str(self.decoder_weights),
            }
        else:
            checkpoint = self.path(Choice("ours-torch", "cpu", "eager", "fp32"), cache)
            output = folder / key
            module = choice.kind.module
            arguments |= {"checkpoint": str(checkpoint), "precision": choice.precision}
        if output.exists():
            return output
        return prepare(module, {**arguments, "output": str(output)})


def prepare(module: str, arguments: dict[str, Any]) -> Path:
    """Make files in a process of its own, so that its memory is nobody's peak.

    Raises:
        UnavailableError: if a package is missing.
        BenchmarkError: if it fails.
    """
    message = {"do": "prepare", "module": module, "arguments": arguments}
    with Worker() as worker:
        for answer in worker.ask(message):
            if "missing" in answer:
                raise UnavailableError(f"{answer['missing']} is not here: {answer['detail']}")
            if "failed" in answer:
                raise BenchmarkError(str(answer["failed"]))
            return Path(answer["prepared"])
    raise BenchmarkError(f"{module} made nothing")


def find_models(
    names: Sequence[str],
    image_sizes: Sequence[int],
    checkpoint: Path | None,
    seed: int,
    decoder_weights: Path | None,
) -> list[Model]:
    """Turn names, variants and bundle directories into models, one a size.

    Args:
        names: ``box``, variants such as ``vit_b`` (seeded weights unless ``checkpoint`` is
            given), or bundle directories.
        image_sizes: for variants; a bundle has its own.
        checkpoint: the weights; for a bundle the file it was exported from.
        seed: for seeded weights.
        decoder_weights: a trained decoder for seeded weights.

    Raises:
        BenchmarkError: if a name means nothing, or the checkpoint is not the bundle's.
    """
    digest = None if checkpoint is None else sha256_file(checkpoint)
    models = []
    for name in names:
        if name in named_models():
            weights = digest or f"seeded:{seed}"
            if decoder_weights is not None:
                weights += f"+decoder:{sha256_file(decoder_weights)[:16]}"
            models += [
                Model(name, name, size, weights, seed, checkpoint, decoder_weights)
                for size in image_sizes or [named_models()[name].image_size]
            ]
            continue
        if name != BOX and not Path(name).is_dir():
            names = ", ".join([BOX, *named_models()])
            raise BenchmarkError(f"{name!r} is neither a bundle's folder nor one of {names}")
        bundle = resolve(None if name == BOX else name)
        spec = read_spec(bundle)
        if digest is not None and digest != spec.source.sha256:
            raise BenchmarkError(
                f"{checkpoint} has sha256 {digest[:12]}, but {bundle} was made from "
                f"{spec.source.file} with {spec.source.sha256[:12]}"
            )
        models.append(
            Model(
                name=BOX if name == BOX else bundle.resolve().name,
                variant=spec.variant,
                image_size=spec.image_size,
                # A photo's frame is less work, which a comparison must not call faster.
                weights=spec.source.sha256 + "+photo-frame" * (spec.image.frame == "photo"),
                checkpoint=checkpoint,
                bundle=bundle,
                spec=spec,
            )
        )
    return models


def describe_files(path: Path, choice: Choice) -> Facts:
    """Return the sizes and hashes of what a subject loads."""
    if path.is_file():
        files = [path]
    elif choice.kind.model == "bundle":
        spec = read_spec(path)
        graphs = {graph.role: spec.graph(graph.role, choice.backend) for graph in spec.graphs}
        files = [
            path / name for graph in graphs.values() for name in (graph.file, *graph.external_data)
        ]
    else:
        files = sorted(file for file in path.iterdir() if file.is_file())
    return {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in files
    }


def _exporter_digest() -> str:
    """Change whenever the exporter does, so that no graph of an older one is ever measured."""
    digest = hashlib.sha256()
    for package in ("sam_edge_export", "sam_edge_benchmarks.subjects"):
        found = find_spec(package)
        assert found is not None
        assert found.submodule_search_locations is not None
        for folder in found.submodule_search_locations:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:8]
