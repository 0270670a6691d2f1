"""
Try version-compatible engines and the lean runtimes on a GPU; JSON comes out.

Usage: try_lean.py MODEL.onnx OUT.json. The full TensorRT is on the path. $KIT holds each lean
runtime in a folder of its own; where RUNTIME names one of them, that alone is tried.
"""

from __future__ import annotations

import argparse
from itertools import product
import json
import os
from pathlib import Path
import sys
import time
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test' / 'helpers')]
KIT = Path(os.environ.get('KIT', 'kit'))
#: Where a builder of 8.6 finds what it puts into version-compatible engines.
LEAN_LIBRARY = KIT / 'lean86' / 'tensorrt_lean' / 'libnvinfer_lean.so.8'
WRONG = ('nothing', 'code not allowed', 'auto', 'plain', 'altered', 'writable', 'TensorRT alone')


def parse() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--engines', type=Path, default=Path('/tmp/try_lean'))
    parser.add_argument('--level', type=int, default=2)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--seconds', type=float, default=500.0, help='each step may take')
    parser.add_argument('--runtimes', nargs='+',
                        default=os.environ.get('RUNTIME', 'lean86 lean10').split())
    return parser.parse_args()


def main() -> None:
    """Take all steps, each in a process of its own."""
    given = parse()
    given.engines.mkdir(parents=True, exist_ok=True)
    from models.tiny_model import write_tiny_model
    tiny = write_tiny_model(given.engines.resolve() / 'tiny.onnx')
    model, found = given.model.resolve(), {}
    common = {'folder': str(given.engines.resolve()), 'level': given.level,
              'batch_size': given.batch_size}

    def step(title: str, runtime: str, what: str, on_path: bool = True, **details: Any) -> None:
        begun = time.monotonic()
        result = child(runtime, libraries if on_path else None, given.seconds, {
            'what': what, 'model': str(model), **common, **details})
        found[title] = {**result, 's': round(time.monotonic() - begun, 1)}
        given.out.write_text(json.dumps(found, indent=1))
        print(title, json.dumps(found[title])[:900], flush=True)

    libraries = given.engines.resolve() / 'lib'
    libraries.mkdir(exist_ok=True)
    step('ONNX Runtime', '', 'reference')
    # The builder asks for it by its whole version, the wheel has a shorter name.
    link = libraries / 'libnvinfer_lean.so.8.6.0'
    if not link.is_symlink():
        link.symlink_to(LEAN_LIBRARY)
    step('build without the lean library', '', 'build', False, model=str(tiny), compatible=True,
         cache='nowhere')
    for path in (tiny, model):
        for compatible in (False, True):
            step(f'build {path.name}{" version-compatible" * compatible}', '', 'build',
                 model=str(path), compatible=compatible)
        # Before there are large engines, since each gets a copy of all.
        for runtime, pair in product(given.runtimes, WRONG if path == tiny else ()):
            step(f'{runtime}: {pair}', runtime, 'wrong', model=str(tiny), pair=pair)
    for flavour, compatible, runtime in (('tensorrt', False, ''), ('tensorrt', True, ''), *(
            ('tensorrt_lean', True, runtime) for runtime in given.runtimes)):
        step(f'run {runtime or "full"}{" version-compatible" * compatible}', runtime, 'run',
             flavour=flavour, compatible=compatible)


def child(runtime: str, libraries: Optional[Path], seconds: float,
          details: dict[str, Any]) -> dict[str, Any]:
    """Return what `lean_steps` finds in a process with that lean runtime on its path."""
    from tools.gpu.step_process import run_step
    environment = dict(os.environ)
    paths = [str(KIT / runtime)] * bool(runtime) + [
        part for part in environment.get('PYTHONPATH', '').split(':')
        if part and not Path(part).name.startswith('lean')]
    environment['PYTHONPATH'] = ':'.join([*paths, str(ROOT), str(ROOT / 'test' / 'helpers')])
    if libraries:
        environment['LD_LIBRARY_PATH'] = f'{environment.get("LD_LIBRARY_PATH", "")}:{libraries}'
    return run_step('tools.gpu.lean_steps', details, seconds, environment)


if __name__ == '__main__':
    main()
