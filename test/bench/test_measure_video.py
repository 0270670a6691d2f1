"""Video over DDS with losses: each packet is accounted for, no answer is another picture's."""

from __future__ import annotations

import re
import sys

import pytest
from repository import REPOSITORY
import stalled

pytestmark = pytest.mark.slow


def test_two_seconds_of_small_video() -> None:
    pytest.importorskip('av', reason='PyAV is not installed')
    done = stalled.run(
        [sys.executable, str(REPOSITORY / 'tools' / 'measure_video.py'), '--size', '320x240',
         '--seconds', '2', '--lost', '10', '--broken', '5'])
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = {key: int(value) for key, value in re.findall(r'([a-z_ ]+) (\d+)', done.stdout)}
    assert numbers[' answered'] > 0
    assert numbers[' dropped_no_key_frame'] > 0
    assert (numbers[' unaccounted'], numbers[' wrong answers']) == (0, 0)
