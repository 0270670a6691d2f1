"""What `resnet_trt classify --regions` writes; tracks, failures and refusals."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from pathlib import Path
from random import Random

from bags.detection_messages import at, detections_of
from bags.image_bags import BagWriter
from bags.region_scenes import BOTH, FRONT, MS, names, patch, scene
from models.tiny_model import write_blind_model
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.regions.region import Region


def test_output_holds_images_detections_and_the_answers(
        resnet_trt, colour_model, region_bag, tmp_path):
    out = tmp_path / 'out'
    assert resnet_trt(
        'classify', colour_model, region_bag, *BOTH, '--output', out, '--top-k', 1,
        '--batch-size', 3).code == 0
    read = ['/front/image', '/front/detections', '/left/image/compressed', '/left/detections']
    with BagReader(region_bag) as before, BagReader(out) as after:
        assert [(one.topic, one.log_time_ns, one.raw) for one in after.raw_messages(read)] == [
            (one.topic, one.log_time_ns, one.raw) for one in before.raw_messages(read)]
        assert set(after.topics) - set(read) == {
            '/front/classified_detections', '/left/classified_detections'}
        answers = [
            (one.topic, one.log_time_ns, one.stamp_ns, one.frame_id,
             [(found.id, [result.hypothesis.class_id for result in found.results])
              for found in one.message.detections])
            for one in after.detections([
                '/front/classified_detections', '/left/classified_detections'])]
    assert answers == [
        ('/left/classified_detections', 1_000_000_000, 1_040_000_000, 'left',
         [('', ['cyan']), ('', ['blue']), ('', ['cyan'])]),
        ('/front/classified_detections', 1_100_000_000, 10**9, 'front',
         [('a', ['red']), ('', ['yellow'])]),
        ('/front/classified_detections', 2_100_000_000, 2 * 10**9, 'front', []),
        ('/front/classified_detections', 3_100_000_000, 3 * 10**9, 'front',
         [('b', ['']), ('', ['green'])])]


def test_output_keeps_the_source_and_indices_where_asked(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', scene(), 10**9, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            10**9, patch('red', class_id='light'), patch('blue', class_id='car')), 10**9)
    words = ('classify', colour_model, tmp_path / 'bag', '--regions', '/detections')
    assert resnet_trt(
        *words, '--output', tmp_path / 'out', '--region-classes', 'light', '--region-classes',
        'sign', '--keep-source-results', '--class-id-format', 'index', '--top-k', 1).code == 0
    with BagReader(tmp_path / 'out') as bag:
        [message] = bag.detections(['/classified_detections'])
        assert [[one.hypothesis.class_id for one in found.results]
                for found in message.message.detections] == [['light', '1'], ['car']]
    # And once more: they would be answered where they are.
    assert 'leave --output out' in resnet_trt.refused(
        'classify', colour_model, tmp_path / 'out', '--regions', '/classified_detections',
        '--output', tmp_path / 'again')


@pytest.mark.parametrize('batch_size', [1, 8])
def test_tracks_are_kept_as_in_a_node_that_keeps_up(
        resnet_trt, colour_model, tmp_path, batch_size):
    colours = ('red', 'green', 'blue', 'cyan', 'white')
    with BagWriter(tmp_path / 'bag') as bag:
        for number, colour in enumerate(colours):
            stamp_ns = 10**9 + number * 100 * MS
            bag.write_image('/image', scene(red=colour), stamp_ns, 'camera', 'rgb8')
            bag.write('/detections', DETECTIONS, detections_of(
                stamp_ns, patch('red', '7'), patch('red')), stamp_ns)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json',
        '--track-cache', '--reinfer-interval-ms', 300, '--batch-size', batch_size).document
    assert [names(one) for one in document['results']] == [
        ['red', 'red'], ['red', 'green'], ['red', 'blue'], ['cyan', 'cyan'], ['cyan', 'white']]
    assert [one['regions'][0]['age_ms'] for one in document['results']] == [
        0.0, 100.0, 200.0, 0.0, 100.0]
    assert (document['outcomes']['answered'], document['outcomes']['cached']) == (7, 3)


def test_smoothing_sees_the_inferences_in_their_order(resnet_trt, colour_model, tmp_path):
    colours = ('red', 'red', 'green', 'red', 'green', 'green', 'green')
    with BagWriter(tmp_path / 'bag') as bag:
        for number, colour in enumerate(colours):
            stamp_ns = 10**9 + number * 100 * MS
            bag.write_image('/image', scene(red=colour), stamp_ns, 'camera', 'rgb8')
            bag.write('/detections', DETECTIONS, detections_of(
                stamp_ns, patch('red', '7')), stamp_ns)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json',
        '--smoothing', 'majority', '--smoothing-window', 3).document
    assert [label for one in document['results'] for label in names(one)] == [
        'red', 'red', 'red', 'red', 'green', 'green', 'green']


def test_a_region_without_an_answer_fails_alone(resnet_trt, tmp_path):
    model = write_blind_model(tmp_path / 'blind.onnx')
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', scene(green='white'), 10**9, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            10**9, patch('red'), patch('green'), replace(patch('blue'), box=at(nan, 0, 9, 9)),
            patch('blue')), 10**9)
    outcome = resnet_trt(
        'classify', model, tmp_path / 'bag', '--regions', '/detections', '--json')
    assert 'NaN' not in outcome.out
    [result] = outcome.document['results']
    assert names(result) == ['red', 'failed', 'not_finite', 'blue']
    assert result['regions'][2]['box']['center_x'] is None


def test_pictures_show_the_boxes(resnet_trt, colour_model, tmp_path):
    grey = np.full((400, 400, 3), 90, np.uint8)
    with BagWriter(tmp_path / 'bag') as bag:
        for number in (1, 2):
            bag.write_image('/image', grey, number * MS, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            MS, Region(at(100, 200, 150, 150))), MS)
        bag.write('/detections', DETECTIONS, detections_of(2 * MS), 2 * MS)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--annotate',
        tmp_path / 'drawn', '--json').document
    written = [Path(one['annotated']) for one in document['results']]
    assert [path.name for path in written] == ['bag_image_1000000.jpg', 'bag_image_2000000.jpg']
    boxed, plain = (np.asarray(Image.open(path)).astype(int) for path in written)
    assert np.abs(plain - 90).max() < 3
    # Its edges, and nothing in its middle.
    for edge in (boxed[200:350, 97:104], boxed[200:350, 247:254], boxed[347:354, 100:250]):
        assert np.abs(edge - 90).max() > 60
    assert np.abs(boxed[260:340, 110:240] - 90).max() < 12


def test_an_image_that_nobody_decoded_is_answered_and_not_drawn(
        resnet_trt, colour_model, tmp_path):
    large = np.zeros((700, 700, 3), np.uint8)
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', large, MS, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(MS, Region(at(900, 0, 9, 9))), MS)
        bag.write_image('/image', large, 2 * MS, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            2 * MS, Region(at(0, 0, 9, 9))), 2 * MS)
    outcome = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--annotate',
        tmp_path / 'drawn', '--max-image-mib', 1, '--json', '--backend', 'onnxruntime')
    [result] = outcome.document['results']
    assert (names(result), result['annotated']) == (['outside'], None)
    assert outcome.err.startswith('not drawn: /image 0.001000000: ')
    [failure] = outcome.document['failures']
    assert failure['stamp_ns'] == 2 * MS
    assert '2 MiB and 1 are allowed' in failure['error']


def test_many_frames_without_regions_do_not_pile_up(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for number in range(40):
            stamp_ns = 10**9 + number * MS
            bag.write_image('/image', scene(), stamp_ns, 'camera', 'rgb8')
            bag.write('/detections', DETECTIONS, detections_of(
                stamp_ns, *[patch('blue')] * (number % 20 == 0)), stamp_ns)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json').document
    assert [one['stamp_ns'] for one in document['results']] == [
        10**9 + number * MS for number in range(40)]
    assert [number for number, one in enumerate(document['results']) if names(one)] == [0, 20]


@pytest.mark.parametrize('seed', range(6))
def test_every_message_is_answered_or_told_once(resnet_trt, colour_model, tmp_path, seed):
    random = Random(seed)
    images, found = [], []
    with BagWriter(tmp_path / 'bag') as bag:
        for number in range(30):
            stamp_ns = number * 100 * MS
            if random.random() < 0.8:
                images.append(stamp_ns)
                bag.write_image(
                    '/image', scene(), stamp_ns, 'camera', 'rgb8',
                    log_time_ns=stamp_ns + random.randrange(400) * MS)
            if random.random() < 0.8:
                found.append(stamp_ns + random.choice((0, 0, 0, 9, 30)) * MS)
                bag.write(
                    '/detections', DETECTIONS, detections_of(found[-1], patch('blue')),
                    stamp_ns + random.randrange(900) * MS)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json',
        '--regions-slop-ms', 10, '--regions-queue', 5).document
    told = {kind: [one['stamp_ns'] for one in document['unmatched'] if one['kind'] == kind]
            for kind in ('image', 'detections')}
    assert all(told.values())
    pairs = [(one['stamp_ns'], one['detections_stamp_ns']) for one in document['results']]
    assert all(abs(image - boxes) <= 10 * MS for image, boxes in pairs)
    assert sorted([*told['image'], *(image for image, _ in pairs)]) == images
    assert sorted([*told['detections'], *(boxes for _, boxes in pairs)]) == sorted(found)


def test_options_without_their_meaning_are_refused(
        resnet_trt, colour_model, region_bag, pictures):
    words = ('classify', colour_model, region_bag)
    assert '--region-margin is about regions: give --regions too' in resnet_trt.refused(
        *words, '--region-margin', 0.1)
    assert '--region-classes is about regions' in resnet_trt.refused(
        *words, '--region-classes', 'light')
    assert 'give bags only' in resnet_trt.refused(*words, pictures, *FRONT)
    assert 'region_margin: 9.0 is out of range' in resnet_trt.refused(
        *words, *FRONT, '--region-margin', 9)
    assert 'no topic /rear' in resnet_trt.refused(*words, '--regions', '/rear')
