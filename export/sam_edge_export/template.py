"""Make the templates that bundles are filled from without torch: ``make templates``.

The exporter is run on a probe, which tells where each weight goes, and on seeded weights, whose
graphs the filled templates must equal to the byte. A pass over graphs that computes something no
recipe knows therefore fails here, with the tensor's name.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from onnx import numpy_helper

from sam_edge.checkpoints.names import COUNTER
from sam_edge.files import json_text, write_text
from sam_edge.filling.graph import fill
from sam_edge.filling.recipes import Folded, Kitchen, Norm, Recipe, View
from sam_edge.filling.template import DECODER_FILE, Piece, Template, encoder_file, packed
from sam_edge_export import trace
from sam_edge_export.fold import folded, pairs
from sam_edge_export.holes import holes
from sam_edge_export.modules.sam import Sam
from sam_edge_export.probe import Probe
from sam_edge_export.quantize.encoder import Source, recipe_for, write_encoder
from sam_edge_export.quantize.equalize import equalize, groups
from sam_edge_export.quantize.recipes import Recipe as Recipe8
from sam_edge_export.quantize.recipes import candidates
from sam_edge_export.seeded import seeded_state
from sam_edge_runtimes import Float32
from sam_edge_runtimes.graph_file import sha256_file

SIZES: Mapping[str, tuple[int, ...]] = {
    "nano": (384, 512),
    "mobile_sam": (512, 768, 1024),
    "vit_b": (512, 768, 1024),
    "vit_l": (1024,),
    "vit_h": (1024,),
}
"""Image sizes that there are templates for: what a family was trained at, and less for boards."""

FOLDER = Path(__file__).parents[2] / "sam_edge" / "filling" / "templates"

RECORD = Path(__file__).with_name("templates.json")
"""What the templates in ``FOLDER`` were made by: a digest of the sources, versions of the tools."""

SOURCES = (
    "export/sam_edge_export/families/*.py",
    "export/sam_edge_export/modules/*.py",
    "export/sam_edge_export/quantize/equalize.py",
    "export/sam_edge_export/quantize/products.py",
    "export/sam_edge_export/quantize/recipes.py",
    "export/sam_edge_export/fold.py",
    "export/sam_edge_export/trace.py",
    "sam_edge/filling/arithmetic.py",
)
"""The code whose every change may change a graph."""

ENDINGS = {"_fp16": ("half",), "_s8": ("integers",), "_scale": ("scales",)}
"""What passes over graphs append to a weight's name, and the form that its values then have."""

LARGEST_CONSTANT = 1_000_000
"""Bytes of a shape, an index or a number of the code, at most."""

PROVENANCE = {"source": "seeded"}


def encoders(variant: str, image_size: int, scratch: Path) -> list[Template]:
    """Return the templates of a variant's encoder at an image size, in every precision.

    Raises:
        ValueError: if a tensor of the exporter's graph is made in a way that no recipe knows.
    """
    maker = _Maker(variant, image_size, scratch, {"image_encoder.": "image_encoder"})
    made = [maker.template(precision) for precision in trace.STORED]
    data_free = (("onnxruntime", "linears"), ("openvino", "weights"))
    return [*made, *(maker.integer_template(recipe_for(*names)) for names in data_free)]


def decoders(scratch: Path) -> list[Template]:
    """Return the templates of the decoder, in every precision; see ``encoders``."""
    halves = {"prompt_encoder.": "prompt_encoder", "mask_decoder.": "mask_decoder"}
    maker = _Maker("nano", 384, scratch, halves)
    return [maker.template(precision) for precision in trace.STORED]


class _Maker:
    """The graphs of one role: the probe's views, and the seeded graph to agree with."""

    def __init__(
        self, variant: str, image_size: int, scratch: Path, halves: Mapping[str, str]
    ) -> None:
        self._scratch = scratch
        self._views = self._probed(variant, image_size, halves)
        sam = Sam(variant, image_size)
        state = seeded_state(variant, image_size, 1)
        sam.load_state_dict(state)
        self._weights: dict[str, Float32] = {
            name: tensor.numpy()
            for name, tensor in state.items()
            if name.startswith(tuple(halves)) and not name.endswith(COUNTER)
        }
        self._folds = {
            f"{prefix}{conv}": f"{prefix}{norm}"
            for prefix, name in halves.items()
            for conv, norm in pairs(sam.get_submodule(name))
        }
        self._role = self._traceable(sam, halves).role
        self._graph = trace.traced(self._traceable(sam, halves), scratch)
        unseen = {tensor.name for tensor in self._graph.graph.initializer} ^ set(self._views)
        if unseen:
            raise ValueError(f"the probe's graph and the seeded one differ in {sorted(unseen)[0]}")
        for tensor in self._graph.graph.initializer:
            # The same for any weights, though a large model's patterns may hold its numbers.
            if tensor.raw_data == self._probed_bytes.get(tensor.name):
                self._views[tensor.name] = None
        del self._probed_bytes

    @staticmethod
    def _traceable(sam: Sam, halves: Mapping[str, str]) -> trace.Traceable:
        is_encoder = "image_encoder" in halves.values()
        return trace.encoder(sam) if is_encoder else trace.decoder(sam, "native")

    def _probed(
        self, variant: str, image_size: int, halves: Mapping[str, str]
    ) -> dict[str, View | None]:
        sam = Sam(variant, image_size).eval()
        for name in halves.values():
            setattr(sam, name, folded(sam.get_submodule(name)))
        with torch.no_grad():
            probe = Probe({prefix: sam.get_submodule(name) for prefix, name in halves.items()})
        graph = trace.traced(self._traceable(sam, halves), self._scratch)
        self._probed_bytes = {
            tensor.name: tensor.raw_data
            for tensor in graph.graph.initializer
            if len(tensor.raw_data) <= LARGEST_CONSTANT
        }
        return {
            tensor.name: probe.view(numpy_helper.to_array(tensor))
            for tensor in graph.graph.initializer
        }

    def template(self, precision: str) -> Template:
        """Return the template of a graph that computes in float32."""
        path = self._scratch / f"{self._role}.onnx"
        trace.save_graph(trace.copied(self._graph), path, {}, precision)
        template = self._cut(path, precision, (), {})
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # it would be appended to
        trace.save_graph(trace.copied(self._graph), path, PROVENANCE, precision)
        self._compare(template, path)
        return template

    def integer_template(self, recipe: Recipe8) -> Template:
        """Return the template of an encoder whose products are computed in integers."""
        path = self._scratch / f"{self._role}.{recipe.engine}.onnx"
        graph = trace.copied(self._graph)
        found = groups(graph)
        equalize(graph)
        made_from = Source(graph, path, {}, np.empty(0, np.float32), 8, None)
        write_encoder(made_from, recipe, (), path, {})
        norms = []
        members: dict[str, tuple[int, bool]] = {}
        for number, group in enumerate(found):
            gain, bias, *matrices = (
                self._view(name) for name in (group.gain, group.bias, *group.matrices)
            )
            norms.append(Norm(gain, bias, tuple(matrices)))
            members |= {group.gain: (number, True), group.bias: (number, True)}
            members |= dict.fromkeys(group.matrices, (number, False))
        template = self._cut(path, "int8", tuple(norms), members)
        count = len(candidates(graph, recipe))
        about = {"recipe": recipe.name, "products": count, "float": []}
        template = replace(template, engines=(recipe.engine,), quantization=about)
        write_encoder(made_from, recipe, (), path, PROVENANCE)
        self._compare(template, path)
        return template

    def _view(self, name: str) -> View:
        view = self._views[name]
        if view is None:
            raise ValueError(f"{name} is computed in a way that no recipe knows")
        return view

    def _cut(
        self,
        path: Path,
        precision: str,
        norms: tuple[Norm, ...],
        members: Mapping[str, tuple[int, bool]],
    ) -> Template:
        """Cut the weights out of a graph's files."""
        kitchen = Kitchen(Folded(self._weights, self._folds), norms)
        texts: list[bytes] = []
        files: dict[str, tuple[Piece, ...]] = {}
        for ending, found in holes(path).items():
            data = np.memmap(path.with_name(path.name + ending), np.uint8, "r")
            pieces: list[Piece] = []
            at = 0
            for hole in found:
                content = data[hole.start : hole.stop].tobytes()
                recipe = self._recipe(hole.name, content, kitchen, members)
                if recipe is not None:
                    pieces += [hole.start - at, recipe]
                    texts.append(data[at : hole.start].tobytes())
                    at = hole.stop
            pieces.append(len(data) - at)
            texts.append(data[at:].tobytes())
            files[ending] = tuple(pieces)
        inputs, outputs = trace.tensor_infos(path)
        return Template(
            role=self._role,
            engines=(),
            precision=precision,
            opset=trace.OPSET,
            exporter=trace.tool_versions(),
            inputs=inputs,
            outputs=outputs,
            weights={name: tuple(values.shape) for name, values in self._weights.items()},
            folds=self._folds,
            norms=norms,
            files=files,
            text=b"".join(texts),
        )

    def _recipe(
        self,
        name: str,
        content: bytes,
        kitchen: Kitchen,
        members: Mapping[str, tuple[int, bool]],
    ) -> Recipe | None:
        """Return how an initializer's bytes are made; None if no weight is in them."""
        for recipe in self._candidates(name, members):
            if kitchen.make(recipe).tobytes() == content:
                return recipe
        if name in self._views and self._views[name] is None:
            return None  # the same in the probe: a shape, an index, a constant of the code
        if not any(content):
            return None  # zero points
        raise ValueError(f"{name} of the {self._role} is made in a way that no recipe knows")

    def _candidates(self, name: str, members: Mapping[str, tuple[int, bool]]) -> Iterator[Recipe]:
        if (view := self._views.get(name)) is not None:
            yield Recipe(view, "float", 0, *members.get(name, (None, False)))
        for ending, (form,) in ENDINGS.items():
            base = name.removesuffix(ending)
            if base != name and (view := self._views.get(base)) is not None:
                for axis in range(1 if form == "half" else len(view.shape)):
                    yield Recipe(view, form, axis, *members.get(base, (None, False)))

    def _compare(self, template: Template, exported: Path) -> None:
        """Fill the template with the seeded weights, and compare it with the exporter's files."""
        filled = exported.with_name("filled.onnx")
        fill(template, self._weights, filled, PROVENANCE)
        for ending in template.files:
            ours, theirs = (
                np.memmap(path.with_name(path.name + ending), np.uint8, "r")
                for path in (filled, exported)
            )
            if not np.array_equal(ours, theirs):
                raise ValueError(f"{self._role} in {template.precision} is not the exporter's")


def sources() -> str:
    """Return a digest of ``SOURCES``."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Write the templates of the variants that are named, of all if none is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="decoder, nano, vit_b, ...")
    names = parser.parse_args(arguments).names or ["decoder", *SIZES]
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        for size in SIZES.get(name, (0,)):
            with tempfile.TemporaryDirectory() as scratch:
                if size:
                    file, made = encoder_file(name, size), encoders(name, size, Path(scratch))
                else:
                    file, made = DECODER_FILE, decoders(Path(scratch))
            data = packed(made)
            (FOLDER / file).write_bytes(data)
            sys.stdout.write(f"{file}: {len(data):,} bytes\n")
    if names == ["decoder", *SIZES]:
        record = {"sources": sources(), "tools": trace.tool_versions()}
        write_text(RECORD, json_text(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
