"""Frames whose classes are known, for an open backend of any kind."""

from models.tiny_model import COLOURS
import numpy as np
import pytest
from resnet_trt_node.backends.factory import BACKENDS

MAX_BATCH = 4
SIDE = 32
NAMES = list(COLOURS)
#: Parameters of tests. TVM brings PyTorch along, and compiles.
BACKEND_PARAMS = [
    pytest.param(name, marks=pytest.mark.slow if name == 'tvm' else ()) for name in BACKENDS]
#: The simulated backend computes no graph, so no graph can make it fail.
GRAPH_PARAMS = [param for param in BACKEND_PARAMS if param.values != ('simulated',)]


def frame_of(name, label):
    """Return a uint8 (H, W, 3) frame that the tiny model names so on that backend."""
    if name == 'simulated':
        return np.full((SIDE, SIDE, 3), NAMES.index(label), np.uint8)
    return np.full((SIDE, SIDE, 3), COLOURS[label], np.uint8)


def labels_of(probabilities):
    return [NAMES[index] for index in probabilities.argmax(axis=1)]


def fill(backend, labels, index=0):
    for slot, label in zip(backend.buffer(index), labels):
        slot[:] = frame_of(backend.info.name, label)
