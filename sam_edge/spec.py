"""What a bundle's manifest says, as values; ``sam_edge.bundle`` reads, checks and writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sam_edge.errors import ManifestError

IMAGE_ENCODER = "image_encoder"
PROMPT_ENCODER_MASK_DECODER = "prompt_encoder_mask_decoder"

ROLES = (IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER)
"""What every bundle has a graph for. It may have more."""

IMAGE_EMBEDDINGS = "image_embeddings"
"""The tensor that every encoder answers, and the first of ``ModelSpec.embeddings``."""

PRECISIONS = ("fp32", "fp16", "int8", "int8-weights")
"""Also the order in which a name without a precision is looked for."""

DECODERS = ("native", "official", "official-multi")

RESIZES = ("longest_side", "stretch")

FRAMES = ("square", "photo")

FRAME_STEP = 64
"""A frame's sides are multiples of it."""

LARGEST_FRAME = 4096
"""Of any side: four times what SAM was trained at, and 0.2 GB as the encoder's input."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a graph. A dimension is a number, or a name where it is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class GraphFile:
    """One graph of a bundle.

    Attributes:
        role: what the graph does, ``image_encoder`` or ``prompt_encoder_mask_decoder``.
        file: its file name in the bundle's directory.
        engines: the engines it is meant for; empty means any ONNX engine.
        precision: what its weights are stored as, one of ``PRECISIONS``.
        sha256: of the file.
        size_bytes: of the file.
        external_data: files with the weights of a graph over 2 GB: name -> sha256.
        inputs: in the graph's order.
        outputs: in the graph's order.
    """

    role: str
    file: str
    engines: tuple[str, ...]
    precision: str
    sha256: str
    size_bytes: int
    external_data: Mapping[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The checkpoint a bundle was made from. Its hash is the model's identity.

    Attributes:
        file: its name.
        sha256: of it, 64 hexadecimal digits.
        licence: of its weights.
        random: whether its weights are random numbers, so that masks mean nothing.
    """

    file: str
    sha256: str
    licence: str
    random: bool = False


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a photo becomes the encoder's input.

    Attributes:
        size: side S of the encoder's square frame, in pixels.
        mean: RGB, in 0..255 units.
        std: RGB, in 0..255 units.
        resize: one of ``RESIZES``: ``longest_side`` keeps the photo's shape and pads it with zeros
            at the bottom and right; ``stretch`` makes it the square.
        frame: what of the square is encoded, one of ``FRAMES``: ``square`` all of it, as SAM was
            trained; ``photo`` only what the photo covers.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = "longest_side"
    frame: str = "square"


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """One tensor that the encoder answers and the decoder takes under the same name.

    Attributes:
        name: the tensor's.
        channels: its second dimension.
        stride: pixels of the encoder's frame for one cell, along each side.
    """

    name: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """What the decoder's outputs are.

    Attributes:
        single: index of the single answer.
        candidates: indices of the answers to an ambiguous prompt.
        stride: pixels of the encoder's frame for one logit, along each side.
        threshold: the logit above which a pixel is foreground.
        score: what is beside each mask; ``predicted_iou`` is the model's own estimate of its IoU.
    """

    single: int = 0
    candidates: tuple[int, ...] = (1, 2, 3)
    stride: int = 4
    threshold: float = 0.0
    score: str = "predicted_iou"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What "everything" keeps where the caller does not say. The official values are the default.

    Small models score their masks lower, and their outlines are softer.

    Attributes:
        pred_iou_thresh: masks whose predicted IoU is not above it are dropped.
        stability_score_thresh: masks with a lower stability are dropped.
    """

    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95


OFFICIAL_THRESHOLDS = Thresholds()
OFFICIAL_MASKS = MaskSpec()
OFFICIAL_EMBEDDINGS = (EmbeddingSpec(IMAGE_EMBEDDINGS, 256, 16),)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a bundle's manifest says.

    Attributes:
        variant: ``vit_b``, ``vit_l``, ``vit_h``, ``mobile_sam``, ``nano``.
        image: how a photo becomes the encoder's input.
        precision: the precision that was asked for at export.
        decoder: the decoder's contract, one of ``DECODERS``.
        opset: ONNX opset of the graphs.
        graphs: every graph file of the bundle.
        source: the checkpoint.
        exporter: versions of what wrote the bundle, name -> version.
        embeddings: the tensors between the two graphs.
        masks: what the decoder's outputs are.
        everything: what "everything" keeps.
        quantization: the recipe, or None for float graphs.
        notes: what a user should know, such as resampled position embeddings.
        fidelity: one entry per engine measured; see ``docs/bundle.md``.
    """

    variant: str
    image: ImageSpec
    precision: str
    decoder: str
    opset: int
    graphs: tuple[GraphFile, ...]
    source: Source
    exporter: Mapping[str, str]
    embeddings: tuple[EmbeddingSpec, ...] = OFFICIAL_EMBEDDINGS
    masks: MaskSpec = OFFICIAL_MASKS
    everything: Thresholds = OFFICIAL_THRESHOLDS
    quantization: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    fidelity: tuple[Mapping[str, Any], ...] = ()

    @property
    def image_size(self) -> int:
        """Side of the encoder's frame, in pixels."""
        return self.image.size

    @property
    def embedding_size(self) -> int:
        """Side of the grid that the decoder attends to, in cells."""
        return self.image.size // self.embeddings[0].stride

    @property
    def low_res_size(self) -> int:
        """Side of the decoder's mask logits."""
        return self.image.size // self.masks.stride

    def decoder_bytes(self, tokens: int = 2) -> int:
        """Return about what the decoder's activations take for one prompt, in bytes.

        Measured on 64 x 64 cells: some 60 MB for a point and its padding, and 0.6 MB for each
        further token.

        Args:
            tokens: points, box corners and padding.
        """
        return (15_000 + 150 * tokens) * self.embedding_size**2

    def frame_shape(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of what is encoded of a photo, in the encoder's pixels.

        Args:
            input_size: height and width of the resized photo.

        >>> _DOCTEST_SPEC.frame_shape((683, 1024))
        (1024, 1024)
        >>> from dataclasses import replace
        >>> alone = replace(_DOCTEST_SPEC, image=replace(_DOCTEST_SPEC.image, frame="photo"))
        >>> alone.frame_shape((683, 1024)), alone.frame_shape((1024, 30))  # a quarter at least
        ((704, 1024), (1024, 256))
        """
        if self.image.frame == "square":
            return self.image.size, self.image.size
        height, width = (
            FRAME_STEP * -(-max(side, self.image.size // 4) // FRAME_STEP) for side in input_size
        )
        return height, width

    def runs_on(self, engine: str) -> bool:
        """Whether every graph of the bundle has a file for an engine."""
        return run_on(self.graphs, engine)

    def graph(self, role: str, engine: str) -> GraphFile:
        """Return the graph for a role; see ``graph_for``."""
        return graph_for(self.graphs, role, engine)


IMAGE_TOWER = "image_tower"
TEXT_TOWER = "text_tower"

STRETCH_BICUBIC, PAD_SQUARE = GROUNDING_RESIZES = ("stretch_bicubic", "pad_square")
"""How a detector of words takes a photo: stretched to the square, or padded to one and shrunk."""


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """What turns phrases into a text tower's input.

    Attributes:
        file: a ``tokenizer.json`` of the library ``tokenizers``, in the bundle's directory.
        sha256: of the file.
        size_bytes: of the file.
        length: tokens that a phrase has room for, its beginning and end among them; what is
            shorter is filled up with token 0.
    """

    file: str
    sha256: str
    size_bytes: int
    length: int


@dataclass(frozen=True, slots=True)
class GroundingSpec:
    """What the manifest of a grounding bundle says: one that finds the boxes of words in a photo.

    Attributes:
        variant: ``owlvit`` or ``owlv2``.
        image: how a photo becomes the image tower's input; ``resize`` is one of
            ``GROUNDING_RESIZES``.
        precision: the precision that was asked for at export.
        opset: ONNX opset of the graphs.
        graphs: every graph file of the bundle.
        source: the checkpoint.
        exporter: versions of what wrote the bundle.
        tokenizer: what turns phrases into tokens.
        threshold: boxes with a lower score are dropped where the caller does not say.
        quantization: as in ``ModelSpec``.
        notes: what a user should know.
        fidelity: one entry per engine measured; see ``docs/bundle.md``.
    """

    variant: str
    image: ImageSpec
    precision: str
    opset: int
    graphs: tuple[GraphFile, ...]
    source: Source
    exporter: Mapping[str, str]
    tokenizer: TokenizerFile
    threshold: float = 0.1
    quantization: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    fidelity: tuple[Mapping[str, Any], ...] = ()

    def runs_on(self, engine: str) -> bool:
        """Whether every graph of the bundle has a file for an engine."""
        return run_on(self.graphs, engine)

    def graph(self, role: str, engine: str) -> GraphFile:
        """Return the graph for a role; see ``graph_for``."""
        return graph_for(self.graphs, role, engine)


BundleSpec: TypeAlias = ModelSpec | GroundingSpec
"""What the manifest of any bundle says."""


def run_on(graphs: Sequence[GraphFile], engine: str) -> bool:
    """Whether every role has a graph for an engine."""
    roles = {graph.role for graph in graphs}
    return roles == {g.role for g in graphs if not g.engines or engine in g.engines}


def graph_for(graphs: Sequence[GraphFile], role: str, engine: str) -> GraphFile:
    """Return the graph for a role: the engine's own file where there is one.

    Raises:
        ManifestError: if there is none for that role and engine.
    """
    candidates = [graph for graph in graphs if graph.role == role]
    for graph in candidates:
        if engine in graph.engines:
            return graph
    for graph in candidates:
        if not graph.engines:
            return graph
    others = sorted({name for graph in candidates for name in graph.engines})
    raise ManifestError(
        f"the bundle's {role} is not for {engine}, only for {', '.join(others) or 'nothing'}; "
        "choose that runtime, or export with --precision fp16"
    )


_DOCTEST_SPEC = ModelSpec(
    variant="vit_b",
    image=ImageSpec(1024, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    precision="fp32",
    decoder="native",
    opset=17,
    graphs=(),
    source=Source("sam_vit_b_01ec64.pth", "0" * 64, "Apache-2.0"),
    exporter={"sam-edge": "0.1.0"},
)
