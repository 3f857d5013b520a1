"""Number formats that a graph is computed in: which an engine has on which processor.

A graph's weights are stored in one format and its products computed in another. Engines take a
reduced one without a word where they think that they can, and then emulate it, or take a third;
what is listed here is in the processor's instructions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sam_edge_runtimes.cpu import features_here
from sam_edge_runtimes.errors import ArgumentError, EngineError

FLOAT32 = "float32"

FORMATS: Mapping[str, str] = {FLOAT32: "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""Every format, the exact one first, and its short name."""


@dataclass(frozen=True, slots=True)
class Support:
    """An engine computes in a format where the processor has one of these features.

    Attributes:
        engine: its name.
        format: one of ``FORMATS``.
        features: as ``sam_edge_runtimes.cpu.FEATURES`` names them.
    """

    engine: str
    format: str
    features: frozenset[str]


SUPPORT = (
    Support("openvino", "bfloat16", frozenset({"AMX-BF16", "AVX512-BF16"})),
    Support("openvino", "float16", frozenset({"AVX512-FP16"})),
)
# Nothing has one on 64-bit Arm. ONNX Runtime's option for products in bfloat16 there (in 1.32,
# mlas.enable_gemm_fastmath_arm64_bfloat16) gives noise where both factors are computed and more
# than 256 products are added up, as in an attention over that many places. OpenVINO 2026.4 cannot
# open nano's decoder in float16 on a Cortex-A76: its library has no such product.


def formats_of(engine: str, features: Sequence[str] | None = None) -> tuple[str, ...]:
    """List the formats that an engine computes in on a processor, ``float32`` first.

    Args:
        engine: its name.
        features: as ``sam_edge_runtimes.cpu.cpu_features`` lists them; None means this one's.

    >>> formats_of("openvino", ["AVX2", "AVX512-BF16"])
    ('float32', 'bfloat16')
    >>> formats_of("openvino", ["AVX2", "AVX512"])  # it would emulate bfloat16
    ('float32',)
    >>> formats_of("openvino", ["NEON", "NEON-FP16"])
    ('float32',)
    >>> formats_of("onnxruntime", ["AMX-BF16"])
    ('float32',)
    >>> formats_of("onnxruntime", ["NEON", "BF16"])
    ('float32',)
    """
    has = {*(features_here() if features is None else features)}
    reduced = (row.format for row in SUPPORT if row.engine == engine and row.features & has)
    return FLOAT32, *reduced


def check_format(name: str) -> None:
    """Refuse what is no format.

    Raises:
        ArgumentError: naming those there are.
    """
    if name not in FORMATS:
        raise ArgumentError(f"compute {name!r} is not one of auto, {', '.join(FORMATS)}")


def refuse_emulation(engine: str, name: str) -> None:
    """Refuse a format that an engine does not have in this processor's instructions.

    Raises:
        ArgumentError: if it is no format at all.
        EngineError: naming those that it has.
    """
    check_format(name)
    has = formats_of(engine)
    if name not in has:
        others = [row.engine for row in SUPPORT if name in formats_of(row.engine)]
        step = f"; {others[0]} does: --runtime {others[0]}" if others else ""
        raise EngineError(
            f"{engine} does not compute in {name} on this CPU, only in {', '.join(has)}{step}"
        )
