"""Model families in PyTorch: a file each, which says how its encoder is built.

What needs no torch stands under the same name in ``sam_edge/zoo/models.json``: how checkpoints are
recognised, the image size, the licence, the thresholds. A new family is a row there, a file here,
and a line in ``FAMILIES``.
"""

from __future__ import annotations

from sam_edge_export.families import mobile_sam, nano, vit
from sam_edge_export.families.family import Family

FAMILIES: dict[str, Family] = {
    "nano": nano.NANO,
    "mobile_sam": mobile_sam.MOBILE_SAM,
    "vit_b": vit.VIT_B,
    "vit_l": vit.VIT_L,
    "vit_h": vit.VIT_H,
}
"""By variant; the names are those of ``sam_edge.zoo.table.named_models``."""

__all__ = ["FAMILIES", "Family"]
