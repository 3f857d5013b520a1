"""The processor's instruction sets, and whether its 8-bit products are exact."""

from __future__ import annotations

import platform
from pathlib import Path

FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "avx512_fp16": "AVX512-FP16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "asimddp": "NEON-DOTPROD",
    "asimdhp": "NEON-FP16",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
}
"""Linux's names for what int8, bf16 and float32 kernels are chosen by, and everyone else's."""

OLDEST_X86 = "SSE2"
"""Said of an x86 processor that has none of them, so that it is told from one of which nothing is
known."""

EXACT = frozenset({"AVX-VNNI", "AVX512-VNNI", "AMX-INT8"})
"""Instruction sets of x86 that add up 8-bit products in 32 bits; older ones saturate at 16."""

X86 = frozenset({"x86_64", "amd64", "i386", "i686"})


def cpu_features(cpuinfo: str) -> list[str]:
    """List the instruction sets that matter to the engines.

    Args:
        cpuinfo: the text of ``/proc/cpuinfo``.

    >>> cpu_features("flags : fpu avx2 avx512f avx512_vnni")
    ['AVX2', 'AVX512', 'AVX512-VNNI']
    >>> cpu_features("Features : fp asimd asimddp i8mm")
    ['NEON', 'NEON-DOTPROD', 'I8MM']
    >>> cpu_features("flags : fpu sse2 sse4_2")
    ['SSE2']
    """
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            has = set(value.split())
            found = [title for flag, title in FEATURES.items() if flag in has]
            return found or [OLDEST_X86] * ("sse2" in has)
    return []


def features_here() -> list[str]:
    """List this machine's; empty where the system does not tell, as on Windows and macOS."""
    try:
        return cpu_features(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return []


def saturates(machine: str, features: list[str]) -> bool:
    """Whether products of uint8 and full int8 may saturate. Unknown features count as exact.

    >>> saturates("x86_64", ["AVX2"]), saturates("x86_64", ["AVX2", "AVX-VNNI"])
    (True, False)
    >>> saturates("aarch64", ["NEON"]), saturates("AMD64", [])
    (False, False)
    """
    return machine.lower() in X86 and bool(features) and not EXACT & set(features)


def saturates_here() -> bool:
    """Whether this machine's 8-bit products may saturate."""
    return saturates(platform.machine(), features_here())


def machine() -> str:
    """Name the kind of this machine, with what its integer kernels are chosen by."""
    return " ".join([platform.machine(), *features_here()])
