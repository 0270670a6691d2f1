"""Monitoring and troubleshooting: what they quote, name and link to is what there is."""

from __future__ import annotations

import ast
import re

from pipelines.pipeline_bench import Bench
import pytest
from repository import REPOSITORY
from resnet_trt_node.node.monitoring.report import Statistics, TopicState
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from resnet_trt_node.node.ros.topics.arrivals import ArrivalRates
import yaml

DOCS = REPOSITORY / 'docs'
PAGES = {name: (DOCS / 'how-to' / f'{name}.md').read_text(encoding='utf-8')
         for name in ('monitoring', 'troubleshooting')}
QUOTED = re.findall(r'^\| `(.*?)` \|', PAGES['troubleshooting'], re.MULTILINE)
GOLDEN = (REPOSITORY / 'test' / 'golden' / 'messages.txt').read_text(encoding='utf-8')
#: What is named like a parameter and is none: keys, launch arguments, parameters of others.
NO_PARAMETERS = {
    'lost_in_transport', 'expected_frequency', 'tolerance', 'frame_rate_node', 'frame_rate_msg',
    'current_delay_from_realtime_ms', 'regions_outside', 'regions_too_small',
    'regions_not_selected', 'hardware_id', 'gw_frequency_monitored_topics', 'image_annotated'}


def literals() -> str:
    r"""Return every text in the package's sources, \0 for what is put in, \n between them."""
    found = []
    for path in sorted((REPOSITORY / 'resnet_trt_node').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                found.append(''.join(
                    str(part.value) if isinstance(part, ast.Constant) else '\0'
                    for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return '\n'.join(found)


@pytest.fixture(scope='module')
def printed() -> str:
    return literals() + GOLDEN


def test_so_many_messages_are_quoted():
    assert len(QUOTED) >= 20
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize('message', QUOTED)
def test_what_is_quoted_is_printed(message, printed):
    """Each piece between two ... of it; what the code puts in ends a piece there too."""
    for piece in filter(str.strip, message.split('...')):
        words = piece.strip(' :;,()')
        assert len(words) < 3 or words in printed, words


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    text = PAGES[page]
    for target, anchor in re.findall(r'\]\((?!http)([^)#]*)(?:#([^)]+))?\)', text):
        path = (DOCS / 'how-to' / target) if target else DOCS / 'how-to' / f'{page}.md'
        assert path.exists(), target
        if anchor:
            headings = re.findall(r'^#+ (.*)$', path.read_text(encoding='utf-8'), re.MULTILINE)
            assert anchor in {
                re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
                for heading in headings}, anchor


@pytest.mark.parametrize('page', PAGES)
def test_parameters_that_are_named_exist(page):
    named = set(re.findall(r'`([a-z]\w*_\w+)(?:: [\w.]+)?`', PAGES[page]))
    known = {*parameter_fields(), *NO_PARAMETERS}
    tools = {name for name in named if re.match(r'(rqt|diagnostic|foxglove|greenwave)_', name)}
    assert named - known - tools == set()


@pytest.fixture
def keys():
    bench = Bench(cameras=('front',))
    bench.answer(1)
    report = Statistics().report(bench.pipeline, {
        'front': TopicState('/front/image', 1, 1, arrivals=ArrivalRates(1.0, 1.0, 1.0))},
        NodeParameters())
    yield {'level', *report.values, *report.cameras['front'].values}
    bench.check_end()


def test_the_alerts_are_of_keys_that_there_are(keys):
    blocks = [yaml.safe_load(block) for block in re.findall(
        r'```yaml\n(.*?)```', PAGES['monitoring'], re.DOTALL)]
    rules = next(block for block in blocks if 'groups' in block)['groups'][0]['rules']
    named = {name for rule in rules for name in re.findall(r'classifier_(\w+)', rule['expr'])}
    # An answer of the bench has no stamp.
    assert named - keys == {'source_to_publish_p99_ms'}
    assert len(rules) == len({rule['alert'] for rule in rules}) == 8
