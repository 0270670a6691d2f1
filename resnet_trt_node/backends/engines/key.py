"""What an engine was built from, so that a change of any of it means another engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
import hashlib
import json
from typing import Any, Mapping, Tuple

#: Field of `EngineKey` to what it is called when a rebuild is explained.
_WORDS = {
    'model_sha256': 'the model file', 'flavour': 'runtime', 'version': 'TensorRT',
    'device': 'GPU', 'compute_capability': 'compute capability', 'profiles': 'batch sizes',
}
#: The same where a flavour has other words: TVM compiles for a CPU.
_WORDS_OF = {
    'tvm': {'version': 'TVM', 'device': 'processor', 'compute_capability': 'CPU features'},
}


@dataclass(frozen=True)
class EngineKey:
    """
    Everything that an engine depends on.

    :param stem: the model file's name without suffix, for people only.
    :param model_sha256: hex digest of the ONNX file.
    :param flavour: 'tensorrt', 'tensorrt_rtx' or 'tvm'.
    :param version: version of that runtime, '' where later ones run the engine as well.
    :param device: the GPU's name, '' where any of its compute capability will do; for TVM on a
        CPU LLVM's name of that.
    :param compute_capability: such as '9.0'; for TVM on a CPU its features.
    :param profiles: (smallest, tuned for, largest) batch size of each optimisation profile.
    :param options: builder options, pairs of name and text, sorted by name.
    :param builder: the version that builds it where `version` is ''; no part of the key, for
        any that can run it will do.
    """

    stem: str
    model_sha256: str
    flavour: str
    version: str
    device: str
    compute_capability: str
    profiles: Tuple[Tuple[int, int, int], ...]
    options: Tuple[Tuple[str, str], ...]
    builder: str = field(default='', compare=False)

    def digest(self) -> str:
        """Return a hex digest of all fields but the file's name and the builder."""
        return self._digest(
            [field.name for field in fields(self) if field.compare and field.name != 'stem'])

    def machine_digest(self) -> str:
        """Return a hex digest of runtime and GPU, which kernel timings hold for."""
        return self._digest([
            'flavour', 'builder' if self.builder else 'version', 'device', 'compute_capability'])

    def _digest(self, names: list[str]) -> str:
        values = {name: getattr(self, name) for name in names}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def differences(self, other: EngineKey) -> list[str]:
        """Say what changed from another key to this one, such as 'TensorRT 8.6.0 -> 10.3'."""
        found = []
        for name, words in {**_WORDS, **_WORDS_OF.get(self.flavour, {})}.items():
            old, new = getattr(other, name), getattr(self, name)
            if old == new:
                continue
            if name == 'model_sha256':
                found.append(f'{words} changed (sha256 {old[:12]} -> {new[:12]})')
            elif name == 'profiles':
                found.append(f'{words} {_show(old)} -> {_show(new)}')
            else:
                found.append(f'{words} {old or "any"} -> {new or "any"}')
        before, after = dict(other.options), dict(self.options)
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                found.append(
                    f'{name} {before.get(name, "unset")} -> {after.get(name, "unset")}')
        if not found and self.stem != other.stem:
            found.append(f'the name of the model file {other.stem} -> {self.stem}')
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file; the options as an object, to be read by people."""
        values = {**asdict(self), 'options': dict(self.options)}
        if not self.builder:
            del values['builder']
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EngineKey:
        """
        Read a key back.

        :raises ValueError, KeyError, TypeError, AttributeError: if it is malformed.
        """
        given: dict[str, Any] = {
            field.name: str(values[field.name] if field.compare else values.get(field.name, ''))
            for field in fields(cls)}
        given['profiles'] = tuple(
            (int(low), int(opt), int(high)) for low, opt, high in values['profiles'])
        given['options'] = tuple(sorted(
            (str(name), str(value)) for name, value in values['options'].items()))
        return cls(**given)


def _show(profiles: Tuple[Tuple[int, int, int], ...]) -> str:
    return ', '.join(f'{low}..{high} (best at {opt})' for low, opt, high in profiles)
