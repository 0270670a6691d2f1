"""The commands of docs/how-to/my-own-data.md run, one part after the other, in an empty folder."""

from __future__ import annotations

import os
from pathlib import Path
import re
import sys

import pytest
from repository import REPOSITORY
import stalled

pytestmark = pytest.mark.slow

TEXT = (REPOSITORY / 'docs' / 'how-to' / 'my-own-data.md').read_text(encoding='utf-8')
PARTS = dict(re.findall(r'^## (.*?)$.*?```sh\n(.*?)```', TEXT, re.DOTALL | re.MULTILINE))
#: What each part prints, besides other things.
PRINTED = {
    'Class names, pictures': "n01440764 is 'tench'",
    'Bags of other tools': 'no metadata.yaml',
    'Video': 'drive.mp4',
    'Models': 'cat.onnx',
    'Checkpoints': 'theirs.onnx'}


def test_the_parts_run_one_after_the_other(tmp_path: Path) -> None:
    for module in ('av', 'torch'):
        pytest.importorskip(module, reason=f'{module} is not installed')
    programs = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    assert len(PARTS) == len(PRINTED)
    for (title, commands), (begin, printed) in zip(PARTS.items(), PRINTED.items()):
        assert title.startswith(begin)
        done = stalled.run(
            ['bash', '-euo', 'pipefail', '-c', commands], cwd=tmp_path,
            env={**os.environ, 'PATH': programs})
        assert done.returncode == 0, f'{title}: {done.stdout}{done.stderr}'
        assert printed in done.stdout + done.stderr, title
    assert (tmp_path / 'foreign' / 'answers').is_dir()
