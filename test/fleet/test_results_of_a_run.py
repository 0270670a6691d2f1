"""What a run on Ray writes is what the report and the pick read."""

from __future__ import annotations

import csv

from fleets.fleet_drives import frame_of, write_drive
import pytest

pytestmark = pytest.mark.slow


def test_report_and_pick_of_a_run(one_ray, resnet_trt, tmp_path, colour_model):
    write_drive(tmp_path / 'drives' / 'city', 30, broken=[7])
    run = tmp_path / 'run'
    assert resnet_trt(
        'fleet', colour_model, tmp_path / 'drives', '-o', run, '--backend', 'onnxruntime',
        '--batch-size', 8, '--unit-frames', 20, '--every-ms', 200).code == 0
    document = resnet_trt('fleet-report', run, '--against', run, '--json').document
    # Every 200 ms: 15 of 30 of the first camera, without the broken one, and all 15 of the second.
    assert document['run']['outcomes'] == {'answered': 30}
    assert document['run']['warnings'] == []
    found = document['comparison']
    assert (found['matched'], found['same'], found['only_run']) == (30, 30, 0)
    assert '<td>not_sampled</td><td class=r>15</td>' in (run / 'report.html').read_text()
    folder = tmp_path / 'picked'
    assert resnet_trt(
        'fleet-pick', run, '--uncertain', '-n', 4, '-o', folder).code == 0
    with open(folder / 'frames.csv', newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        number = int(row['frame']) if row['topic'].startswith('/front') else (
            500 + 2 * int(row['frame']))
        assert (folder / row['file']).read_bytes() == frame_of(number)
