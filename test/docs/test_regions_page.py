"""docs/how-to/regions.md says what the node does: parameters, outcomes, counters and delays."""

from __future__ import annotations

import re
import shlex

from bags.detection_messages import at, detections_of
from bags.image_bags import BagWriter
from models.tiny_model import colour_picture, write_tiny_model
import numpy as np
from PIL import Image
from repository import REPOSITORY
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.cli.main import main
from resnet_trt_node.cli.support.regions.crops import parse_crops
from resnet_trt_node.node.pipeline.counters import DETECTIONS_EVENTS, DROP_REASONS, REGION_COUNTS
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.regions.region import Box, Region
from resnet_trt_node.regions.smoothing import make_smoother
from resnet_trt_node.regions.track_cache import FORGET_SEC
import yaml

TEXT = (REPOSITORY / 'docs' / 'how-to' / 'regions.md').read_text(encoding='utf-8')


def test_defaults_are_those_of_the_node():
    """Of the parameters in tables."""
    rows = re.findall(r'^\| `(\w+)` \| `(.+?)` \|', TEXT, re.MULTILINE)
    assert len(rows) == 8
    for name, default in rows:
        wanted = parameter_fields()[name].default
        assert yaml.safe_load(default) == (list(wanted) if isinstance(wanted, tuple) else wanted)


def test_every_counter_is_explained():
    """Under what is counted."""
    section = TEXT.split('## What is counted')[1]
    counted = (*REGION_COUNTS, 'in_progress', 'per_frame')
    assert [name for name in counted if f'`regions_{name}`' not in section] == []


def test_every_reason_of_waiting_in_vain_is_explained():
    """Of images, and of detections, side by side."""
    rows = re.findall(r'^\| .* \| `(\w+)` \| `(detections_\w+)` \|$', TEXT, re.MULTILINE)
    assert sorted(event for _, event in rows) == sorted(DETECTIONS_EVENTS)
    assert {reason for reason, _ in rows} == {
        reason for reason in DROP_REASONS if re.match('unmatched|refused', reason)}
    assert all(event == f'detections_{reason}' for reason, event in rows)


def test_delays_are_those_of_the_smoothers():
    """Inferences of the new class until the answer follows, less the one that is no delay."""
    windows = [int(cell) for cell in re.search(
        r'\| `smoothing_window` \| (.+) \|', TEXT)[1].replace(' (default)', '').split(' | ')]
    assert len(windows) == 5
    for smoothing in ('ema', 'majority'):
        told = re.search(rf'\| `{smoothing}` \| (.+) \|', TEXT)[1].split(' | ')
        delays = []
        for window in windows:
            smoother = make_smoother(smoothing, window)
            for _ in range(3 * window):
                smoother.add(np.array((1, 0), np.float32))
            delay = 0
            while smoother.add(np.array((0, 1), np.float32)).argmax() == 0:
                delay += 1
            delays.append(str(delay))
        assert told == delays


def test_a_track_is_forgotten_after_this_time():
    """In seconds."""
    assert f'not seen for {FORGET_SEC:g} s' in ' '.join(TEXT.split())


def test_the_commands_for_bags_and_crops_run_as_they_stand(tmp_path, monkeypatch, capsys):
    """On a bag with detections, and a table of the columns shown."""
    lines = [
        line for line in TEXT.splitlines() if re.match('resnet_trt (classify|evaluate) ', line)]
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    for folder in ('models', 'photos'):
        (tmp_path / folder).mkdir()
    write_tiny_model('models/resnet50.onnx')
    Image.fromarray(colour_picture('red')).save('photos/front.png')
    (tmp_path / 'crops.tsv').write_text(
        'file\tcenter_x\tcenter_y\twidth\theight\tclass\nfront.png\t30\t20\t20\t20\tred\n')
    with BagWriter('drive') as bag:
        bag.write_image('/front/image', colour_picture('red'), 1, 'front', 'rgb8')
        bag.write('/front/detections', DETECTIONS, detections_of(1, Region(at(0, 0, 30, 30))), 1)
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0
    found = capsys.readouterr().out
    assert re.search('/front/image 0.000000001 +0 +- +answered +1 +99.* % +red', found)
    assert re.search('top-1 +100.00', found)
    assert (tmp_path / 'drive_classified').is_dir()
    assert [path.name for path in (tmp_path / 'seen').iterdir()] == ['drive_front_image_1.jpg']


def test_the_table_of_crops_is_read_as_it_stands():
    """Where tabs are between the columns."""
    rows = re.search('    (file  .*)\n    (.*)\n', TEXT)
    assert rows is not None
    table = '\n'.join('\t'.join(re.split(' {2,}', row)) for row in rows.groups())
    [crop] = parse_crops(table, ('tiger cat',), 'table')
    assert crop.box == Box(260.5, 190.0, 451.0, 300.0, 0.0)
