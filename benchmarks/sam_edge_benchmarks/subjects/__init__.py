"""What can be measured. One line here and one small file for how it is opened.

A subject's module is imported before the clock starts, so it imports nothing heavy at its top. It
has ``import_libraries(request)``, timed as the phase "import", and ``load(request)``, timed as
"load". Where files are made first, ``prepare(arguments)`` makes them in a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from sam_edge_benchmarks.work import Opaque
from sam_edge_runtimes import FLOAT32, FORMATS, formats_of
from sam_edge_runtimes.formats import SUPPORT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sam_edge.image import RgbImage
    from sam_edge_benchmarks.prompts import Prompts


class Subject(Protocol):
    """A loaded model, cut where the phases are. Every method returns when its work is done.

    A subject that can segment everything also has ``everything(photo, points_per_side) -> int``,
    which returns how many masks it found.
    """

    def device(self) -> dict[str, Any]:
        """Name what it runs on, with versions, for the record."""
        ...

    def preprocess(self, photo: RgbImage) -> Opaque:
        """Turn a photo into the encoder's input, on the device."""
        ...

    def encode(self, frame: Opaque) -> Opaque:
        """Turn the encoder's input into an embedding."""
        ...

    def decode(self, embedding: Opaque, prompts: Prompts) -> Opaque:
        """Turn an embedding and B prompts into whatever ``postprocess`` takes."""
        ...

    def postprocess(self, decoded: Opaque) -> NDArray[np.bool_]:
        """Return the three candidates a prompt, ``(B, 3, H, W)`` in the photo's pixels."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table: a family of subjects.

    Attributes:
        module: opens them.
        model: what they load: ``checkpoint``, ``bundle`` or ``naive`` (graphs traced for this).
        backends: where they can run.
        modes: how; ``graph`` is what needs no word: a graph, computed in float32.
        precisions: what they can compute in.
    """

    module: str
    model: str
    backends: tuple[str, ...]
    modes: tuple[str, ...]
    precisions: tuple[str, ...]


TORCH_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")

SUBJECTS: dict[str, Kind] = {
    "official-torch": Kind(
        "sam_edge_benchmarks.subjects.official_torch",
        "checkpoint",
        ("cpu", "cuda"),
        ("eager", "compile"),
        TORCH_PRECISIONS,
    ),
    "ours-torch": Kind(
        "sam_edge_benchmarks.subjects.ours_torch",
        "checkpoint",
        ("cpu", "cuda"),
        ("eager", "compile"),
        TORCH_PRECISIONS,
    ),
    "naive-onnx": Kind(
        "sam_edge_benchmarks.subjects.naive_onnx",
        "naive",
        ("onnxruntime",),
        ("graph",),
        ("fp32", "int8"),
    ),
    "bundle": Kind(
        "sam_edge_benchmarks.subjects.bundle",
        "bundle",
        ("onnxruntime", "openvino"),
        # how it computes; how its weights are stored is the precision
        ("graph", "bf16", "fp16"),
        ("fp32", "fp16", "int8", "int8-weights"),
    ),
}


FORMAT_OF = {short: name for name, short in FORMATS.items()}
"""By the word that stands for it in a subject's name."""

ENGINE_FORMATS = {(row.engine, row.format) for row in SUPPORT}
"""What there is on some machine."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One subject: a row of the table with every choice made.

    >>> str(Choice("official-torch", "cuda", "compile", "fp16"))
    'official-torch/cuda/compile/fp16'
    >>> str(Choice("bundle", "openvino", "graph", "int8"))
    'bundle/openvino/int8'
    >>> str(Choice("bundle", "openvino", "bf16", "int8"))  # its products in bfloat16
    'bundle/openvino/bf16/int8'
    """

    name: str
    backend: str
    mode: str
    precision: str

    def __str__(self) -> str:
        parts = (self.name, self.backend, self.mode, self.precision)
        return "/".join(part for part in parts if part != "graph")

    @property
    def format(self) -> str | None:
        """The number format that an engine computes in; None where the precision says it."""
        return None if self.kind.model != "bundle" else FORMAT_OF.get(self.mode, FLOAT32)

    @property
    def kind(self) -> Kind:
        """Its row of the table."""
        return SUBJECTS[self.name]


def catalogue() -> list[Choice]:
    """Return every subject there is, on any machine."""
    return [
        Choice(name, backend, mode, precision)
        for name, kind in SUBJECTS.items()
        for backend in kind.backends
        for mode in kind.modes
        for precision in kind.precisions
        if not (precision == "tf32" and backend == "cpu")  # tf32 is a mode of CUDA's tensor cores
        if mode not in FORMAT_OF or any(has == (backend, FORMAT_OF[mode]) for has in ENGINE_FORMATS)
    ]


def choose(patterns: Sequence[str]) -> list[Choice]:
    """Return the subjects that match any pattern, in the order of the patterns.

    A number format that no engine has on this CPU is chosen only by a pattern that matches nothing
    else, which then says so.

    >>> [str(choice) for choice in choose(["bundle/onnxruntime/int*"])]
    ['bundle/onnxruntime/int8', 'bundle/onnxruntime/int8-weights']

    Raises:
        ValueError: if a pattern matches none.
    """
    chosen: dict[str, Choice] = {}
    for pattern in patterns:
        found = [choice for choice in catalogue() if fnmatchcase(str(choice), pattern)]
        if not found:
            raise ValueError(
                f"no subject matches {pattern!r}; for example: official-torch/cpu/eager/fp32, "
                "bundle/onnxruntime/int8, 'official-torch/cuda/*'"
            )
        possible = [
            choice for choice in found if choice.format in (None, *formats_of(choice.backend))
        ]
        chosen.update((str(choice), choice) for choice in possible or found)
    return list(chosen.values())
