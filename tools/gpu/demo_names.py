"""
The demo's photographs through the node, once with TensorRT and once with ONNX Runtime.

Usage: PYTHONPATH=tools:. python -m tools.gpu.demo_names MODEL BAG OUT.json

MODEL is models/efficientnet_lite0.onnx of `make demo`, BAG its demo/photographs. Prints and writes
where the names differ, and the largest difference of a score; ends with 1 if a name differs.
"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

from bench.environment import describe_machine
import demo
from markdown_page import write_json

BACKENDS = ('tensorrt', 'onnxruntime')
#: The first start builds an engine, in float32 and at the usual level.
_START_TIMEOUT_S = 300.0


def main() -> int:
    """Run both, and compare frame by frame."""
    model, bag, out = (Path(word).resolve() for word in sys.argv[1:4])
    answers: dict[str, Any] = {}
    demo.START_TIMEOUT_S = _START_TIMEOUT_S
    with demo.settle_ros(out.parent):
        for backend in BACKENDS:
            found: dict[demo.Frame, Any] = {}
            for compressed in (False, True):
                demo.run_node(model, bag, compressed, out.parent, found, {}, backend)
            answers[backend] = found
    frames = demo.read_images(bag)
    ours, theirs = ({frame: dict(found[frame][0].classes) for frame in frames if frame in found}
                    for found in answers.values())
    differing = [
        f'{camera} {stamp}: {[*one][:1]} and {[*other][:1]}' for camera, stamp in frames
        if [*(one := ours.get((camera, stamp), {}))][:1]
        != [*(other := theirs.get((camera, stamp), {}))][:1]]
    result = {
        'machine': describe_machine(), 'frames': len(frames), 'answered': [len(ours), len(theirs)],
        'differing': differing, 'largest_difference': max(
            abs(score - theirs[frame][name]) for frame, scores in ours.items()
            for name, score in scores.items() if name in theirs.get(frame, {}))}
    write_json(out, result)
    print(result)
    return 1 if differing or result['answered'] != 2 * [len(frames)] else 0


if __name__ == '__main__':
    sys.exit(main())
