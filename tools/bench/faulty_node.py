"""
`classifier_node` with a backend that fails on command; otherwise as users start it.

$BENCH_FAULTS names a file; while it holds a number above 0 each batch fails and counts it down.
"""

from __future__ import annotations

import os
from pathlib import Path
import sys
from typing import Any

from resnet_trt_node.atomic_file import replacing
from resnet_trt_node.backends import factory
from resnet_trt_node.backends.simulated import SimulatedBackend
from resnet_trt_node.errors import InferenceError

VARIABLE = 'BENCH_FAULTS'


class FaultyBackend(SimulatedBackend):
    """The simulated backend, failing while the file says so."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Open it; see `SimulatedBackend`."""
        super().__init__(*arguments, **options)
        self._faults_file = Path(os.environ[VARIABLE])

    def _submit(self, batch_size: int, index: int) -> None:
        remaining = take_fault(self._faults_file)
        if remaining:
            raise InferenceError(f'a fault of the soak test, {remaining - 1} more to come')
        super()._submit(batch_size, index)


def order_faults(path: Path, number: int) -> None:
    """Have the next batches fail."""
    with replacing(path) as temporary:
        temporary.write_text(str(number))


def take_fault(path: Path) -> int:
    """Count one fault down; return how many there were, 0 for none."""
    try:
        remaining = int(path.read_text())
    except FileNotFoundError:
        return 0
    if remaining > 1:
        order_faults(path, remaining - 1)
    else:
        path.unlink()
    return remaining


def main() -> int:
    """Run the node with the faulty backend in the place of the simulated one."""
    # Under the name by which the factory will import it.
    factory.BACKENDS['simulated'] = 'bench.faulty_node:FaultyBackend'
    from resnet_trt_node.node.entry import main as node_main
    return node_main()


if __name__ == '__main__':
    sys.exit(main())
