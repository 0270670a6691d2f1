"""
The index of models that can be fetched: one JSON file beside the models' files.

It may come from anywhere, so that every value is checked before it is used, names above all: they
become names of files here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
import json
import re
from typing import Any, Dict, Mapping, Optional, Tuple

from resnet_trt_node.contract.spec import PRECISIONS
from resnet_trt_node.downloads.transfer import MAX_BYTES
from resnet_trt_node.errors import DownloadError
from resnet_trt_node.text.printable import printable

INDEX_FILE = 'index.json'
INDEX_FORMAT = 'resnet_trt.model_index'
#: One more when a key is renamed or removed; further keys are passed over.
INDEX_VERSION = 1
#: Names of models and of their files: no folder, nothing hidden, nothing that a shell splits.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,99}')
_SHA256 = re.compile(r'[0-9a-f]{64}')
_TEXTS = ('description', 'licence', 'source')


@dataclass(frozen=True)
class IndexEntry:
    """
    A model of the index.

    :param name: what `resnet_trt fetch` is given.
    :param file: its file, beside the index.
    :param sha256: 64 hex digits, of the file.
    :param bytes: of the file.
    :param precision: one of the contract's `PRECISIONS`.
    :param height: rows of the input.
    :param width: columns of the input.
    :param classes: how many it tells apart.
    :param licence: of the weights, in words or by its SPDX name.
    :param description: one line for people.
    :param source: where the weights are from.
    :param top1_percent: published accuracy, None if not stated.
    :raises DownloadError: for a value that cannot be one.
    """

    name: str
    file: str
    sha256: str
    bytes: int  # noqa: A003  the key of the file
    precision: str
    height: int
    width: int
    classes: int
    licence: str
    description: str = ''
    source: str = ''
    top1_percent: Optional[float] = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for key in ('name', 'file'):
            value = getattr(self, key)
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise DownloadError(
                    f'the {key} {printable(repr(value), 60)} of a model is none that is taken: '
                    'letters, digits, dots, - and _, without a folder')
        self._check('sha256', isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256))
        for key, most in (
                ('bytes', MAX_BYTES), ('height', 1 << 14), ('width', 1 << 14),
                ('classes', 1 << 20)):
            value = getattr(self, key)
            self._check(key, type(value) is int and 0 < value <= most)
        self._check('precision', self.precision in PRECISIONS)
        for key in _TEXTS:
            self._check(key, isinstance(getattr(self, key), str))
        top1 = self.top1_percent
        self._check('top1_percent', top1 is None or (
            type(top1) in (int, float) and 0 <= top1 <= 100))

    def _check(self, key: str, good: object) -> None:
        if not good:
            raise DownloadError(
                f'{key} of the model {self.name} is {printable(repr(getattr(self, key)), 80)}, '
                'which it cannot be')

    def to_dict(self) -> Dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> IndexEntry:
        """
        Return a model of what an index says; keys of later versions are passed over.

        :raises DownloadError: if keys are missing or have values that cannot be.
        """
        if not isinstance(values, Mapping):
            raise DownloadError('one of its models is no object')
        fields = cls.__dataclass_fields__
        required = list(fields)[:list(fields).index('description')]
        missing = [key for key in required if key not in values]
        if missing:
            name = printable(repr(values.get('name')), 60)
            raise DownloadError(f'the model {name} has no {", ".join(missing)}')
        return cls(**{key: values[key] for key in fields if key in values})


def read_index(data: bytes) -> Tuple[IndexEntry, ...]:
    """
    Return the models of an index.

    :param data: the file's content.
    :raises DownloadError: if it is no index that this version reads.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DownloadError(f'it is no JSON: {printable(error)}') from error
    if not isinstance(document, dict) or document.get('format') != INDEX_FORMAT:
        raise DownloadError(f'it is no index of models: its format is not {INDEX_FORMAT}')
    if document.get('version') != INDEX_VERSION:
        raise DownloadError(
            f'it has version {printable(repr(document.get("version")), 20)}, this program reads '
            f'{INDEX_VERSION}: update resnet_trt_node')
    models = document.get('models')
    if not isinstance(models, list):
        raise DownloadError('it has no list of models')
    entries = tuple(map(IndexEntry.from_dict, models))
    for name, times in Counter(entry.name for entry in entries).items():
        if times > 1:
            raise DownloadError(f'it names {name} more than once')
    return entries


def index_text(entries: Tuple[IndexEntry, ...]) -> str:
    """Return an index as text; `read_index` reads it back."""
    return json.dumps({
        'format': INDEX_FORMAT, 'version': INDEX_VERSION,
        'models': [entry.to_dict() for entry in entries]}, indent=2, ensure_ascii=True) + '\n'
