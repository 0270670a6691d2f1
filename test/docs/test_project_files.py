"""Badges, diagrams and the forms of issues say what is true, and are what their host reads."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any
import xml.etree.ElementTree as ElementTree

from docs_site.badges import badge, facts, FOLDER as BADGES
from docs_site.diagrams import diagrams, FOLDER as DIAGRAMS, picture_of
import pytest
from repository import REPOSITORY
import resnet_trt_node
import yaml

FORMS = sorted((REPOSITORY / '.github' / 'ISSUE_TEMPLATE').glob('[!c]*.yml'))
#: Kind of a form's element to its attributes; more are an error for GitHub.
ATTRIBUTES = {
    'markdown': {'value'},
    'textarea': {'label', 'description', 'placeholder', 'value', 'render'},
    'input': {'label', 'description', 'placeholder', 'value'},
    'checkboxes': {'label', 'description', 'options'},
}


def shown_on(path: Path) -> tuple[str, ...]:
    return tuple(
        element.text or '' for element in ElementTree.parse(path).iter()
        if element.tag.endswith('}text'))


def test_badges_say_what_the_repository_says() -> None:
    distros = {
        path.stem.partition('-')[2].capitalize()
        for path in (REPOSITORY / 'requirements').glob('constraints-*.txt')}
    license_text = (REPOSITORY / 'LICENSE').read_text(encoding='utf-8')
    name, version = re.search(r'(\w+) License\s+Version ([\d.]+)', license_text).groups()
    assert {path.stem: shown_on(path) for path in BADGES.glob('*.svg')} == {
        'license': ('license', f'{name}-{version}'),
        'python': ('Python', '3.10 to 3.12'),
        'ros': ('ROS 2', ', '.join(sorted(distros))),
        'version': ('version', resnet_trt_node.__version__),
    }
    assert 'Python 3.10 to 3.12' in (REPOSITORY / 'CONTRIBUTING.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('file', sorted(facts()))
def test_badge_is_current(file: str) -> None:
    """Else run tools/docs_site/badges.py."""
    assert (BADGES / f'{file}.svg').read_text(encoding='utf-8') == badge(*facts()[file])


def test_each_diagram_has_its_picture_and_each_picture_a_diagram() -> None:
    """Else run tools/docs_site/diagrams.py."""
    pictures = {picture_of(text) for text in diagrams()}
    assert pictures
    assert {*DIAGRAMS.glob('*')} == pictures
    for picture in pictures:
        assert ElementTree.parse(picture).getroot().tag.endswith('}svg')


@pytest.mark.parametrize('path', FORMS, ids=lambda path: path.stem)
def test_form_is_one_that_github_takes(path: Path) -> None:
    form: dict[str, Any] = yaml.safe_load(path.read_text(encoding='utf-8'))
    assert {'name', 'description', 'body'} <= set(form) <= {
        'name', 'description', 'title', 'labels', 'assignees', 'projects', 'type', 'body'}
    assert any(element['type'] != 'markdown' for element in form['body'])
    names = [element['id'] for element in form['body'] if 'id' in element]
    assert len({*names}) == len(names)
    for element in form['body']:
        attributes = element['attributes']
        assert set(element) <= {'type', 'id', 'attributes', 'validations'}
        assert set(attributes) <= ATTRIBUTES[element['type']]
        assert attributes.get('value' if element['type'] == 'markdown' else 'label')
        assert re.fullmatch(r'[\w-]+', element.get('id', 'none'))
        assert element.get('validations', {'required': True}).keys() <= {'required'}
        for option in attributes.get('options', []):
            assert set(option) <= {'label', 'required'}


def test_forms_ask_for_what_tells_most() -> None:
    assert {path.stem for path in FORMS} == {'bug', 'feature', 'question'}
    for name in ('bug', 'question'):
        text = (REPOSITORY / '.github' / 'ISSUE_TEMPLATE' / f'{name}.yml').read_text()
        assert '`resnet_trt doctor`' in text
        assert '`resnet_trt top --once`' in text


@pytest.mark.parametrize('name', ['CONTRIBUTING.md', 'SECURITY.md'])
def test_links_lead_somewhere(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding='utf-8')
    links = re.findall(r'\]\((?!http)([^)#]+)', text)
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_page_of_security_names_what_parses_and_what_is_code() -> None:
    text = (REPOSITORY / 'SECURITY.md').read_text(encoding='utf-8')
    for name in ('OpenCV', 'Pillow', 'PyAV', 'FFmpeg', 'nvImageCodec', 'nvJPEG', 'RAY_AUTH_MODE'):
        assert name in text, name
    code = re.findall(r'^\| (.*?) \| \*\*yes', text, re.MULTILINE)
    for start in ('engines', 'version-compatible engines', 'kernels', 'Ray'):
        assert [cell for cell in code if cell.startswith(start)], start


def test_commands_of_the_contributors_page_exist() -> None:
    text = (REPOSITORY / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    targets = {*re.findall(r'^([a-z-]+):', (REPOSITORY / 'Makefile').read_text(), re.MULTILINE)}
    named = {*re.findall(r'(?:`|^)make ([a-z-]+)', text, re.MULTILINE)}
    assert named
    assert named <= targets
