"""
The side file of an engine: what it was built from, in words, and what it must be.

The file lies beside the engine for ever and is read by every build, also of other models. So it
is taken for what anybody may have written until its own digest says that nothing was altered, and
whatever else is in it is one kind of error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
import hashlib
import json
from pathlib import Path
import time
from typing import Any, Optional

from resnet_trt_node.backends.engines.files import read_trusted, UntrustedFile
from resnet_trt_node.backends.engines.key import EngineKey
from resnet_trt_node.contract.sparsity import SparseBuild
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import ModelError

_FORMAT = 2
#: A hundred thousand class names are a few MB.
_MAX_BYTES = 32 << 20


@dataclass(frozen=True)
class EngineSide:
    """
    What the side file holds.

    :param key: what the engine was built from.
    :param plan_sha256: hex digest of the engine.
    :param plan_bytes: its size.
    :param owner_uid: who wrote both files.
    :param spec: the contract of its model.
    :param build_s: seconds that building took.
    :param sparsity: what came of sparse weights, None if they were not asked for.
    """

    key: EngineKey
    plan_sha256: str
    plan_bytes: int
    owner_uid: int
    spec: ModelSpec
    build_s: float
    sparsity: Optional[SparseBuild] = None

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        content: dict[str, Any] = {
            'format': _FORMAT,
            'key': self.key.to_json(),
            'plan': {'sha256': self.plan_sha256, 'bytes': self.plan_bytes,
                     'owner_uid': self.owner_uid},
            'spec': self.spec.to_metadata(),
            'built': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'build_s': round(self.build_s, 3),
        }
        if self.key.builder:
            content['built_by'] = f'{self.key.flavour} {self.key.builder}'
            content['runs_on'] = (
                f'{self.key.flavour} and {self.key.flavour}_lean from {self.key.builder} on, as '
                'far as those load its engines')
        if self.sparsity is not None:
            content['sparsity'] = asdict(self.sparsity)
        content['sha256'] = _digest(content)
        # A model's file name may be any bytes; JSON reads the escaped ones back.
        return json.dumps(content, indent=1, ensure_ascii=False).encode(
            'utf-8', 'backslashreplace')

    @classmethod
    def read(cls, path: Path) -> EngineSide:
        """
        Read a side file.

        :raises UntrustedFile: if it is not what was stored, or others could have written it.
        :raises OSError: if it cannot be read.
        """
        data = read_trusted(path, None, _MAX_BYTES)
        try:
            side = cls._from_json(json.loads(data), path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError,
                ModelError) as error:
            raise UntrustedFile(
                f'its side file {path.name} is malformed ({error!r:.200})') from error
        # The engine must belong to who wrote it, and so must this.
        if read_trusted(path, side.owner_uid, _MAX_BYTES) != data:
            raise UntrustedFile(f'its side file {path.name} was changed while it was read')
        return side

    @classmethod
    def _from_json(cls, content: Any, path: Path) -> EngineSide:
        if content['format'] != _FORMAT:
            raise UntrustedFile(
                f'its side file has format {content["format"]!r:.40}, not {_FORMAT}')
        if content.pop('sha256') != _digest(content):
            raise UntrustedFile(
                f'the sha256 of its side file {path.name} is not the recorded one: it was altered')
        plan = content['plan']
        return cls(
            EngineKey.from_json(content['key']), str(plan['sha256']), int(plan['bytes']),
            int(plan['owner_uid']), ModelSpec.from_metadata(content['spec']),
            float(content['build_s']),
            SparseBuild(**content['sparsity']) if 'sparsity' in content else None)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
