"""Every clause of the deployable-model contract, checked on any ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import onnx
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.backends.result_check import bad_rows, check_shape
from resnet_trt_node.contract.declared import Clause, declared_clauses
from resnet_trt_node.contract.model_file import (
    declarations_of, parse_graph, read_model, refuse_damaged, refuse_external_data)
from resnet_trt_node.contract.onnx_check import check_valid
from resnet_trt_node.contract.onnx_graph import opset_of, precision_of
from resnet_trt_node.contract.spec import (
    activation_in, INPUT_NAME, OUTPUT_NAME, own_properties)
from resnet_trt_node.errors import InferenceError, ModelError
from resnet_trt_node.onnx_tools.deployable import CHECKED_BATCHES
from resnet_trt_node.onnx_tools.graph import IR_VERSION, OPSET
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames


@dataclass(frozen=True)
class ContractReport:
    """
    Which clauses of the contract a model keeps.

    :param path: the file.
    :param clauses: all of them.
    :param own: whether it says of itself that it follows the contract: this package's tools made
        it, and `prepare` is not what mends it.
    """

    path: Path
    clauses: Tuple[Clause, ...]
    own: bool

    @property
    def deployable(self) -> bool:
        """Tell whether every clause is kept."""
        return all(clause.kept for clause in self.clauses)


def check_contract(path: Union[str, Path]) -> ContractReport:
    """
    Check every clause of the contract; any ONNX file will do.

    The model is also run, on synthetic frames on ONNX Runtime.

    :raises ModelError: if it is missing, unreadable or no ONNX.
    :raises BackendUnavailable: if onnx or ONNX Runtime is not installed.
    """
    path = Path(path)
    data = read_model(path)
    model = parse_graph(data, path)
    clauses = list(_file_clauses(model, data, path))
    whole = all(clause.kept for clause in clauses)
    metadata, inputs, outputs = declarations_of(model)
    clauses += declared_clauses(metadata, inputs, outputs)
    kept = {clause.name: clause.kept for clause in clauses}
    values = own_properties(metadata)
    clauses.append(_precision_clause(
        precision_of(model), values['precision'] if kept['precision'] else None))
    if whole and kept['input'] and kept['output']:
        multi_label = kept['activation'] and activation_in(values)[1]
        clauses += _answer_clauses(
            data, path, inputs[0].shape[1:3], outputs[0].shape[1], not multi_label)
    else:
        clauses += _unanswered('not run')
    return ContractReport(path, tuple(clauses), bool(values))


def _file_clauses(model: onnx.ModelProto, data: bytes, path: Path) -> Iterator[Clause]:
    outside = _failure(lambda: refuse_external_data(data, path))
    yield Clause('one file', 'no tensor is in another file',
                 'tensors in other files' if outside else f'{len(data) / 1e6:.1f} MB', outside)
    damaged = _failure(lambda: refuse_damaged(model, path))
    yield Clause('constants', 'bytes that fit type and shape',
                 'damaged' if damaged else 'whole', damaged)
    name, wanted = 'graph', "valid by ONNX's own checker"
    if outside or damaged:
        yield Clause(name, wanted, 'not checked without its constants', checked=False)
    else:
        invalid = _failure(lambda: check_valid(model, str(path)))
        yield Clause(name, wanted, 'not valid' if invalid else 'valid', invalid)
    yield _opset_clause(opset_of(model), model.ir_version, onnx.defs.onnx_opset_version())


def _opset_clause(opset: int, ir_version: int, known: int) -> Clause:
    found = f'opset {opset}, IR {ir_version}'
    wanted = f'opset 1 to {known}, what the onnx of this machine knows'
    error = None
    if not 1 <= opset <= known:
        error = ModelError(
            f'the model uses opset {opset}, {wanted}: export it again with opset {OPSET}, or '
            'update onnx and ONNX Runtime')
    elif opset > OPSET or ir_version > IR_VERSION:
        found += (f'; TensorRT 8.6 and ONNX Runtime 1.16 read only opset {OPSET} and IR '
                  f'{IR_VERSION}')
    return Clause('opset', wanted, found, error)


def _precision_clause(found: str, declared: Optional[str]) -> Clause:
    name = 'graph precision'
    if declared is None:
        return Clause(name, 'what the metadata say', found, checked=False)
    error = None if found == declared else ModelError(
        f'the metadata say {declared}, and the graph computes in {found}: make the model again, '
        'precision is no flag')
    return Clause(name, f'{declared}, as the metadata say', found, error)


_ANSWERS = {
    'batches': 'float32 (N, C) for any batch size',
    'probabilities': 'each row is finite, within 0 and 1, and sums to 1 unless the model is '
                     'multi-label'}


def _unanswered(why: str) -> List[Clause]:
    return [Clause(name, wanted, why, checked=False) for name, wanted in _ANSWERS.items()]


def _answer_clauses(
        data: bytes, path: Path, sides: Tuple[Any, ...], classes: Any,
        sums_to_one: bool) -> List[Clause]:
    """Run the model; `sides` and `classes` are what it declares."""
    batches, rows = _ANSWERS.items()
    try:
        session = CpuSession(data, path)
        for size in CHECKED_BATCHES:
            result, = session.run([OUTPUT_NAME], {INPUT_NAME: sample_frames(size, *sides)})
            check_shape(result, size, classes)
            # The shape of the next batch matters too, but the first bad row is enough.
            bad: Mapping[int, str] = bad_rows(result, sums_to_one)
            if bad:
                break
    except (ModelError, InferenceError) as error:
        return [Clause(*batches, 'fails', _as_model_error(error)), _unanswered('no answers')[1]]
    shown = ' and '.join(map(str, CHECKED_BATCHES))
    first = next(iter(bad.values()), None)
    return [
        Clause(*batches, f'answers batches of {shown} on ONNX Runtime {session.version}'),
        Clause(*rows, 'rows that are none' if first else 'on synthetic frames',
               ModelError(f'{path}: {first}') if first else None)]


def _as_model_error(error: Union[ModelError, InferenceError]) -> ModelError:
    return error if isinstance(error, ModelError) else ModelError(str(error))


def _failure(check: Callable[[], object]) -> Optional[ModelError]:
    try:
        check()
    except ModelError as error:
        return error
    return None


def clause_dict(clause: Clause) -> Dict[str, Any]:
    """Return a clause for JSON."""
    return {
        'clause': clause.name,
        'state': 'not checked' if not clause.checked else 'ok' if clause.kept else 'not ok',
        'wanted': clause.wanted, 'found': clause.found,
        'problem': None if clause.error is None else str(clause.error)}
