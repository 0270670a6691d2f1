"""`resnet_trt fleet-report`: the page and its figures, names of others, and what is refused."""

from __future__ import annotations

from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
import re
import xml.etree.ElementTree as ElementTree

from documentation.json_schemas import checked
from fleets.fleet_results import change_manifest, LEFT, pq, row, write_drive, write_run
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main

CAR, BUS = {'car': .9, 'bus': .1}, {'bus': .8, 'car': .2}
#: A class that a browser or a terminal could take for a command.
HOSTILE = '</title><script>alert("1")</script>&amp;\x1b[31m\u202e'
_VOID = {'meta', 'img', 'br'}


class Page(HTMLParser):
    """A page: its elements, cells and text; every element has to be closed in its turn."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding='utf-8')
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if 'style' in self._open:
            return
        self.words += data.split()
        if {'td', 'th'} & {*self._open}:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        """Return all text, its words with one space between them."""
        return ' '.join(self.words)

    @property
    def tags(self) -> set[str]:
        """Return the names of the elements."""
        return {tag for tag, _ in self.elements}

    @property
    def plots(self) -> list[ElementTree.Element]:
        """Return the plots, which have to be XML."""
        return [ElementTree.fromstring(one) for one in re.findall(
            r'<svg.*?</svg>', self.source, re.DOTALL)]


@pytest.fixture
def report(capsys):
    """Return a function that runs the command, and returns what it printed."""
    def report(*words, code=0):
        capsys.readouterr()
        assert main(['fleet-report', *map(str, words)]) == code
        return capsys.readouterr()
    return report


def test_one_run(report, tmp_path):
    run = write_run(tmp_path / 'run', [
        *(row('berlin', number, CAR) for number in range(6)),
        *(row('berlin', number, BUS) for number in range(6, 8)), row('berlin', 8),
        row('aachen', 0, BUS, region_id='7')])
    captured = report(run)
    assert captured.out == '2 drives, 10 rows, 9 answered\n  1 not answered: damaged\n'
    assert captured.err == f'report: {run / "report.html"}\n'
    page = Page(run / 'report.html')
    assert 'Fleet report: run Model: one.onnx sha256 abababababab' in page.text
    assert 'Recorded from 2026-09-21 14:13:20 to 2026-09-21 14:13:24 UTC.' in page.text
    for figure in ('2 drives', '10 frames or regions', '90.0 % answered', '2 classes seen'):
        assert figure in page.text
    assert ['berlin', '2026-09-21 14:13:20', '4.0 s', '9', '88.9 %', 'car 75 %, bus 25 %'] \
        in page.rows
    assert ['damaged', '1', '10.00 %'] in page.rows
    assert 'car 66.7 %, 6, mean score 90 %' in page.text
    assert 'Where the runs differ' not in page.text
    # Two drives over time, the shares and the scores.
    assert len(page.plots) == 4


def test_plots_show_the_figures(report, tmp_path):
    report(write_run(tmp_path / 'run', [
        *(row('d', number, CAR) for number in range(6)), *(row('d', number, BUS) for number in (
            6, 7)), row('d', 8), row('d', 9)]))
    name = '{http://www.w3.org/2000/svg}'
    drive, shares, scores = Page(tmp_path / 'run' / 'report.html').plots
    titles = [one.text for one in drive.iter() if one.tag.removeprefix(name) == 'title']
    assert titles == ['car: 60.0 %', 'bus: 20.0 %', 'no answer: 20.0 %']
    widths = [float(one.get('width', '')) for one in shares.iter('rect')]
    assert widths == [pytest.approx(514, abs=.1), pytest.approx(514 / 3, abs=.1)]
    filled = {one[0].text: float(one.get('height', '')) for one in scores.iter('rect')
              if float(one.get('height', ''))}
    assert filled == {'90 to 95 %: 75.0 %': pytest.approx(187.5, abs=.1),
                      '80 to 85 %: 25.0 %': pytest.approx(62.5, abs=.1)}


def test_two_runs(report, tmp_path):
    bag = write_drive(tmp_path / 'bag', 12)
    first = [row('d', number, CAR, bag=str(bag), model='new.onnx', topic=LEFT)
             for number in range(12)]
    second = [row('d', number, CAR, bag=str(bag), model='old.onnx', topic=LEFT)
              for number in range(12)]
    second[3] = row('d', 3, BUS, bag=str(bag), topic=LEFT)
    second[9] = row('d', 9, {'tram': .85}, bag=str(bag), topic=LEFT)
    second[11] = row('d', 11, None, bag=str(bag), topic=LEFT)
    runs = [write_run(tmp_path / name, rows) for name, rows in (('new', first), ('old', second))]
    output = tmp_path / 'pages' / 'change.html'
    captured = report(runs[0], '--against', runs[1], '-o', output)
    assert captured.out.splitlines()[1:] == [
        '12 rows in both runs, the same best class in 81.82 % of 11; drift of classes (PSI) '
        '0.206', '  1 from bus to car', '  1 from tram to car']
    page = Page(output)
    assert 'best class is the same for 9 of these, 81.82 %.' in page.text
    assert '1 rows have an answer of new.onnx only, 0 of old.onnx only.' in page.text
    assert page.rows[0] == ['old.onnx', 'new.onnx', 'rows', 'of all changes']
    assert page.rows[1:3] == [['bus', 'car', '1', '50.0 %'], ['tram', 'car', '1', '50.0 %']]
    assert ['car', '81.82 %', '100.00 %', '+18.18'] in page.rows
    assert ['d', '11', '81.8 %', '0.206', 'some drift'] in page.rows
    assert 'arXiv:2303.01227' in page.text
    # The sheet: the surest first, with its picture.
    assert re.findall(r'car 90\.0 % before: (\w+)', page.text) == ['tram', 'bus']
    pictures = [attributes['src'] for tag, attributes in page.elements if tag == 'img']
    for picture, value in zip(pictures, (9, 3)):
        content = b64decode(picture.removeprefix('data:image/jpeg;base64,'), validate=True)
        shown = np.asarray(Image.open(BytesIO(content)))
        assert shown.shape == (48, 64, 3)
        assert abs(int(shown[0, 0, 0]) - value) <= 2
    assert len(pictures) == 2


def test_runs_that_agree(report, tmp_path):
    run = write_run(tmp_path / 'run', [row('d', number, CAR) for number in range(3)])
    report(run, '--against', run)
    page = Page(run / 'report.html')
    assert 'Both runs agree on every frame.' in page.text
    assert 'PSI' in page.text
    assert '0.000 (stable)' in page.text


def test_names_of_others_stay_text(report, tmp_path):
    answer = {HOSTILE: .9}
    run = write_run(tmp_path / 'run', [
        row('d<b>', 0, answer, bag=f'/bags/{HOSTILE}', topic='/a"<i>', model=HOSTILE),
        row('d<b>', 1, None, outcome=HOSTILE)])
    other = write_run(tmp_path / 'other', [
        row('d<b>', 0, {'<img src=x>': .9}, bag=f'/bags/{HOSTILE}', topic='/a"<i>',
            region_id=None)])
    captured = report(run, '--against', other)
    assert '\x1b' not in captured.out + captured.err
    page = Page(run / 'report.html')
    assert not page.tags & {'script', 'link', 'iframe', 'img'}
    assert '\x1b' not in page.source
    assert '\u202e' not in page.source
    assert r'</title><script>alert("1")</script>&amp;\x1b[31m\u202e' in page.text
    assert '<img src=x>' in page.text
    assert len(page.plots) == 3
    policy, = (attributes['content'] for tag, attributes in page.elements
               if attributes.get('http-equiv') == 'Content-Security-Policy')
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:)', page.source)


def test_a_bag_that_is_gone_is_told_and_the_rest_goes_on(report, tmp_path):
    run = write_run(tmp_path / 'run', [row('d', 0, CAR), row('d', 4, CAR)])
    other = write_run(tmp_path / 'other', [row('d', 0, BUS), row('d', 4, CAR)])
    captured = report(run, '--against', other, '--json')
    line, = captured.err.splitlines()
    assert line.startswith('warning: no picture: there is no bag at /bags/d: copy it to ')
    document = checked(captured.out)
    assert document['without_picture'] == [line.removeprefix('warning: no picture: ')]
    assert document['comparison']['changes'] == [{'against': 'bus', 'run': 'car', 'rows': 1}]
    assert (document['comparison']['both'], document['comparison']['same']) == (2, 1)
    page = Page(run / 'report.html')
    assert 'there is no bag at /bags/d' in page.text
    write_drive(tmp_path / 'moved' / 'd', 1)
    assert report(run, '--against', other, '--bags', tmp_path / 'moved').err.count('\n') == 1
    assert 'img' in Page(run / 'report.html').tags


def test_frames_without_rows_and_bags_that_failed(report, tmp_path):
    run = write_run(tmp_path / 'run', [row('d', 0, CAR)])

    def fail(manifest):
        manifest['bags'][0].update({'state': 'failed', 'error': 'it is damaged'})
        manifest['frames']['skipped'] = {'not_sampled': 8, 'unit_failed': 1}
    change_manifest(run, fail)
    document = checked(report(run, '--json').out)
    assert 'run is not complete, of 1 bags frames are missing: /bags/d' in document['run'][
        'warnings'][0]
    assert document['run']['skipped'] == {'not_sampled': 8, 'unit_failed': 1}
    assert document['run']['incomplete'] == [{'bag': '/bags/d', 'reason': 'it is damaged'}]
    page = Page(run / 'report.html')
    assert ['not_sampled', '8', '80.00 %'] in page.rows
    assert ['/bags/d', 'it is damaged'] in page.rows
    assert 'run is not complete' in page.text


def test_a_run_whose_frames_have_no_rows(report, tmp_path, capsys):
    run = write_run(tmp_path / 'run', [row('d', 0, CAR)])
    # As with --regions, of frames on which nothing was detected.
    path, = run.glob('frames/*/*')
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    other = write_run(tmp_path / 'other', [row('d', 0, CAR), row('d', 1)])
    document = checked(report(run, '--json').out)
    assert (document['run']['rows'], document['run']['model']) == (0, 'models/one.onnx')
    page = Page(run / 'report.html')
    for words in ('0 drives', '0 frames or regions', 'none answered', 'Every frame was answered'):
        assert words in page.text
    captured = report(run, '--against', other, code=2)
    assert 'no frame in common' in captured.err
    assert main(['fleet-pick', str(run), '--uncertain', '-o', str(tmp_path / 'picked')]) == 2
    assert 'run has no answers: no frame of the run has a row' in capsys.readouterr().err


def test_the_drives_that_changed_most_are_drawn(report, tmp_path):
    drives = [f'drive{number}' for number in range(6)]
    run = write_run(tmp_path / 'run', [row(name, 0, CAR) for name in drives])
    other = write_run(tmp_path / 'other', [
        row(name, 0, BUS if name == 'drive4' else CAR) for name in drives])
    for words, shown in (([], 'drive0'), (['--against', other], 'drive4')):
        report(run, '--drives', 1, *words)
        page = Page(run / 'report.html')
        assert '1 of 6 drives (--drives shows more)' in page.text
        heads = re.findall(r'<h3>(drive\d) <span', page.source)
        assert heads == [shown]


def test_drives_without_a_common_answer_are_last_of_those_that_changed(report, tmp_path):
    drives = [f'd{number:02d}' for number in range(12)]
    run, other = (write_run(tmp_path / name, [
        row(drive, frame, None if number % 3 == 1 else
            BUS if new and frame < number % 4 else CAR)
        for number, drive in enumerate(drives) for frame in range(4)])
        for name, new in (('run', True), ('other', False)))
    report(run, '--against', other)
    source = (run / 'report.html').read_text().partition('Drives that changed most')[2]
    shown = re.findall(r'<td>(d\d\d)</td><td class=r>(\d+)', source.partition('</table>')[0])
    assert [name for name, _ in shown] == sorted(drives, key=lambda name: (
        int(name[1:]) % 3 == 1, -(int(name[1:]) % 4) * (int(name[1:]) % 3 != 1), name))
    assert [int(both) for _, both in shown] == [4] * 8 + [0] * 4


def test_two_words_are_the_command_too(tmp_path, capsys):
    run = write_run(tmp_path / 'run', [row('d', 0, CAR)])
    assert main(['fleet', 'report', str(run)]) == 0
    assert (run / 'report.html').exists()
    assert main(['fleet', 'pick', str(run), '--class', 'tram', '-o', str(tmp_path / 'p')]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith('resnet_trt fleet-pick: no frame')


@pytest.mark.parametrize(('words', 'message'), [
    (['--frames', '0'], '--frames 0: choose at least 1'),
    (['--drives', '0'], '--drives 0: choose at least 1'),
    (['--against', 'nowhere'], 'nowhere holds no frames of a fleet run'),
    (['-o', '.'], '. is a folder: name a file in it')])
def test_what_cannot_be_used_is_refused(report, tmp_path, words, message):
    run = write_run(tmp_path / 'run', [row('d', 0, CAR)])
    captured = report(run, *words, code=2)
    assert message in captured.err
    assert captured.err.count('\n') == 1
    assert not (run / 'report.html').exists()


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch, capsys):
    def without(name):
        raise ModuleNotFoundError("No module named 'pyarrow'", name='pyarrow')
    monkeypatch.setattr('resnet_trt_node.cli.main.import_module', without)
    assert main(['fleet-report', 'run']) == 2
    assert capsys.readouterr().err.rstrip().endswith('not installed: pip install pyarrow')
