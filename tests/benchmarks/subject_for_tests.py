"""A subject whose every cost is known: times by the sleep, memory by the byte."""

import time

import numpy as np

LEAK_BYTES = 100 * 2**20
kept = []


def import_libraries(request):
    if request.variant == "missing":
        raise ModuleNotFoundError("No module named 'absent_engine'", name="absent_engine")


def load(request):
    return Subject(request.variant)


class Subject:
    def __init__(self, variant):
        self.variant = variant

    def device(self):
        return {"name": "a test"}

    def preprocess(self, photo):
        return photo

    def encode(self, frame):
        if self.variant == "slow":
            time.sleep(0.2)
        return frame.shape[:2]

    def decode(self, embedding, prompts):
        if self.variant == "leaky" and not kept:
            # one write a page, or the system would never give the memory
            block = np.empty(LEAK_BYTES, np.uint8)
            block[::4096] = 1
            kept.append(block)
        if self.variant == "dies":
            raise SystemExit(3)
        return len(prompts), embedding

    def postprocess(self, decoded):
        count, size = decoded
        masks = np.zeros((count, 3, *size), bool)
        masks[:, :, : size[0] // 2] = True
        return masks
