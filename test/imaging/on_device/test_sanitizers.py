"""The kernel under the compiler's sanitizers: it reads what was copied and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest
from repository import HELPERS, REPOSITORY
import stalled
from stand_ins.kernel_on_cpu import compile_kernel

pytestmark = pytest.mark.slow

_SCRIPT = '\n'.join((
    'import sys',
    'from pathlib import Path',
    'from stand_ins.kernel_on_cpu import KernelOnCpu, NAMES, raw_image, source_of',
    'from resnet_trt_node.contract.spec import ResizeRule',
    'from resnet_trt_node.imaging.on_device.grid import plan_grid',
    '',
    'kernel = KernelOnCpu(Path(sys.argv[1]), margin=(0, 0))',
    'for name in NAMES:',
    "    for kind in ('nearest', 'bilinear', 'bicubic'):",
    '        for size in ((3, 4), (61, 90), (90, 62)):',
    '            for rule in (ResizeRule(24, 20, 20, kind), ResizeRule(None, 17, 40, kind)):',
    '                raw = raw_image(name, *size)',
    '                kernel([(source_of(raw), plan_grid(rule, raw.height, raw.width))],',
    '                       rule.crop_height, rule.crop_width)',
    "print('all read')"))


def _library(name: str) -> str:
    """Return where the compiler has a library, the bare name if it has none."""
    return subprocess.run(
        ['c++', f'-print-file-name={name}'], capture_output=True, text=True,
        check=True).stdout.strip()


def test_no_pixel_is_read_that_was_not_copied(tmp_path: Path) -> None:
    sanitizer = _library('libasan.so')
    if not Path(sanitizer).is_absolute():
        pytest.skip('the compiler has no AddressSanitizer')
    library = compile_kernel(
        tmp_path, '-fsanitize=address,undefined', '-fno-sanitize-recover=all')
    done = stalled.run(
        [sys.executable, '-c', _SCRIPT, str(library)], cwd=REPOSITORY,
        env={**os.environ, 'LD_PRELOAD': sanitizer, 'ASAN_OPTIONS': 'detect_leaks=0',
             'PYTHONPATH': f'{REPOSITORY}{os.pathsep}{HELPERS}'})
    assert done.stdout.endswith('all read\n'), done.stderr[:4000]
