"""The pages of scores, calibrate.md and unknown.md: their commands run, their figures are ours."""

from __future__ import annotations

import json
import re
import shlex

from bags.image_bags import BagWriter
from measure_unknown import Answers, auroc, compare, criteria, section
from models.tiny_model import colour_picture, COLOURS, write_tiny_model
import numpy as np
from PIL import Image
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import main
from resnet_trt_node.onnx_tools.inspection import inspect_model

HOW_TO = REPOSITORY / 'docs' / 'how-to'
PAGES = ('calibrate.md', 'unknown.md')


def commands(page):
    blocks = re.findall(r'```sh\n(.*?)```', (HOW_TO / page).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Go to a folder of what the commands name."""
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / 'mine.onnx')
    names = list(COLOURS)
    for number in range(13 * len(names)):
        # One in five shows the next colour.
        name, shown = names[number % 8], names[(number + (number % 5 == 0)) % 8]
        (tmp_path / 'labelled' / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour_picture(shown)).save(
            tmp_path / 'labelled' / name / f'{number}.png')
    with BagWriter(tmp_path / 'drive') as bag:
        for number, colour in enumerate(((255, 0, 0), (128, 128, 0))):
            frame = np.full((48, 64, 3), colour, np.uint8)
            bag.write_image('/front/image', frame, (1 + number) * 10**9, 'front', 'rgb8')
    return tmp_path


def test_the_commands_run_one_after_the_other(workplace, capsys):
    for page in PAGES:
        for command in commands(page):
            words = shlex.split(command)[1:]
            short = [] if words[0] == 'inspect' else ['--backend', 'onnxruntime']
            assert main([*words, *short]) == 0, command
    assert inspect_model('mine_calibrated.onnx').temperature > 1
    # The second frame is as far from black as from red, green and yellow: each scores a quarter.
    assert capsys.readouterr().out.count('none of these') == 1


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\((?!http)([^)#]+)', (HOW_TO / page).read_text())
    assert links
    for link in links:
        assert (HOW_TO / link).exists(), link


def test_the_page_shows_the_figures_of_its_file():
    text = (HOW_TO / 'unknown.md').read_text(encoding='utf-8')
    found = re.search(r'<!-- begin unknown:[^\n]*\n(.*?)<!-- end unknown -->', text, re.DOTALL)
    results = json.loads((REPOSITORY / 'docs' / 'unknown.json').read_text(encoding='utf-8'))
    assert found is not None
    assert found[1].strip() == section(results).strip()


def test_criteria_by_hand():
    score, margin, entropy = criteria(np.array([0.5, 0.25, 0.25, 0], np.float32))
    assert (score, margin) == (0.5, 0.25)
    assert entropy == pytest.approx(2**-1.5)


def test_areas_by_hand():
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auroc(np.array([0.0]), np.array([1.0, 2.0])) == 0
    # Above 0, below 2, and a tie: 1.5 of 3.
    assert auroc(np.array([1.0]), np.array([0.0, 1.0, 2.0])) == 0.5


def test_intervals_hold_the_figure_and_a_gain_is_that_of_the_same_draw():
    random = np.random.default_rng(3)
    known, unknown = random.normal(1, 1, 40), random.normal(0, 1, 40)

    def answers(values, origins):
        # The margin orders as the score does, the entropy not at all.
        return Answers(np.array([values, 2 * values, 0 * values]), origins, values > 0)

    found = compare(answers(known, np.arange(40)), answers(unknown, np.arange(40)))
    score, margin, entropy = found['criteria'].values()
    low, high = score['auroc_95']
    assert low < score['auroc'] < high
    assert (found['keep'], found['refuse']) == (40, 40)
    assert (margin['gain'], margin['gain_95']) == (0, [0, 0])
    assert entropy['auroc'] == 0.5
    assert entropy['gain_95'][0] < 0.5 - score['auroc'] < entropy['gain_95'][1] < 0
