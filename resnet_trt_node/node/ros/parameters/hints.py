"""What to write in place of a parameter that does not exist, or of a value of the wrong type."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
import re
from typing import Any

from resnet_trt_node.text.printable import printable
from resnet_trt_node.text.spelling import instead, RENAMED_PARAMETERS

#: Topics of the node that a user may take for parameters, and the launch arguments that remap two.
_TOPICS = {
    'image_topic': 'image', 'image': 'image', 'detections_topic': 'detections',
    'detections': 'detections', 'classification': 'classification',
    'classified_detections': 'classified_detections', 'image_annotated': 'image_annotated',
    'label_info': 'label_info'}
_LAUNCH_ONLY = 'it is an argument of classify.launch.py: ros2 launch resnet_trt_node ' \
    'classify.launch.py {0}:=...'
_IN_MODEL = 'class names are in the model, where `resnet_trt prepare --labels FILE` writes them'
_NO_ENGINE = 'set model_path to the ONNX model; its engine is built once and cached in engine_dir'
#: What else is no parameter, but has a place elsewhere.
_ELSEWHERE = {
    'namespace': 'write --ros-args -r __ns:=/car',
    'name': 'write --ros-args -r __node:=front_classifier',
    'params_file': 'write --ros-args --params-file mine.yaml',
    'log_level': 'write --ros-args --log-level debug',
    **dict.fromkeys(('respawn', 'dds_profile'), _LAUNCH_ONLY),
    **dict.fromkeys(('labels', 'labels_file', 'labels_path', 'class_names'), _IN_MODEL),
    **dict.fromkeys(('engine', 'engine_file', 'engine_path'), _NO_ENGINE)}
_TOPIC = re.compile(r'(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
_PLAIN = re.compile(r'[A-Za-z_][\w/]*')
_TRUE, _FALSE = ('1', 'true', 'yes', 'on', 'y'), ('0', 'false', 'no', 'off', 'n')
#: What YAML reads as no text, though it looks like a name.
_NO_TEXT = (*_TRUE, *_FALSE, 'null', 'nan', 'inf', 'infinity')


def unknown_parameter(name: str, value: object, known: Collection[str]) -> str:
    """
    Return the error about a parameter that does not exist.

    :param name: its name.
    :param value: what it was set to.
    :param known: the names of those that exist.
    """
    return f'unknown parameter {printable(repr(name))}: {_instead(name, value, known)}'


def _instead(name: str, value: object, known: Collection[str]) -> str:
    if name in _TOPICS:
        given = isinstance(value, str) and _TOPIC.fullmatch(value)
        topic = value if given else f'/camera/{_TOPICS[name]}'
        launch = f', or with ros2 launch {name}:={topic}' if name.endswith('_topic') else ''
        return f'remap the topic, --ros-args -r {_TOPICS[name]}:={topic}{launch}'
    if name in _ELSEWHERE:
        return _ELSEWHERE[name].format(name)
    return instead(name, known, RENAMED_PARAMETERS) or (
        'there is none like it, `classifier_node --help` lists all')


def type_error(value: object, default: object) -> str:
    """
    Return why a value is not of a parameter's type, and what to write.

    :param value: of another type than the default.
    :param default: the parameter's default, a str, bool, int, float or tuple of str.
    """
    word, write = _DESCRIBED[type(default)](value)
    return f'{printable(repr(value))} is not {word}: write {printable(write)}'


def _number(value: object) -> float | None:
    """Return the number that was meant, also by a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _as_float(value: object) -> tuple[str, str]:
    number = _number(value)
    return 'a floating-point number', 'a number with a point, such as 1.0' if number is None \
        else repr(number)


def _as_int(value: object) -> tuple[str, str]:
    number = _number(value)
    whole = number is not None and number.is_integer()
    return 'an integer', f'{number:.0f}' if whole else 'a whole number, such as 1'


def _as_bool(value: object) -> tuple[str, str]:
    word = str(value).lower()
    return 'true or false', 'true' if word in _TRUE else 'false' if word in _FALSE \
        else 'true or false, without quotes'


def _as_str(value: object) -> tuple[str, str]:
    single = isinstance(value, (bool, int, float))
    return 'a string', f'"{str(value).lower()}", with the quotes' if single else 'one string'


def _as_list(value: object) -> tuple[str, str]:
    if isinstance(value, str):
        items = re.findall(r'[^\s,;\[\]\'"]+', value)
    else:
        items = [str(item).lower() for item in value] if isinstance(value, tuple) else []
    if not items:
        return 'a list of strings', '[front, left]'
    plain = all(_PLAIN.fullmatch(item) and item.lower() not in _NO_TEXT for item in items)
    return 'a list of strings', f'[{", ".join(items)}]' if plain else \
        'each of them in quotes: [' + ', '.join(f'"{item}"' for item in items) + ']'


#: Type of a parameter to what describes it, and to what the value should have been.
_DESCRIBED: dict[type, Any] = {
    float: _as_float, int: _as_int, bool: _as_bool, str: _as_str, tuple: _as_list}
