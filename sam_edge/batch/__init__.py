"""A folder, a data set, a cluster: photos by the million, and a run that may be killed any time.

>>> import sam_edge.batch                                                   # doctest: +SKIP
>>> sam_edge.batch.run("photos/", "masks/", prompts="boxes.csv").failed     # doctest: +SKIP
0
>>> for outcome in sam_edge.batch.iterate("photos/", "masks/"):             # doctest: +SKIP
...     print(outcome.item.file_name, outcome.masks)
"""

from sam_edge.batch.batches import Batch, iterate, run
from sam_edge.batch.options import Options, Summary
from sam_edge.batch.values import BatchError, Item, Outcome

__all__ = ["Batch", "BatchError", "Item", "Options", "Outcome", "Summary", "iterate", "run"]
