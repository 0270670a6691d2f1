"""
Loops for a CPU: tiles whose sums stay in registers, and plain parallel loops for the rest.

TVM's own rules leave a convolution as seven nested scalar loops. Here each one, with what was
fused behind it, becomes: parallel over tiles; for each, sum over channels and filter; all results
of a tile unrolled, their channels in vectors. Activations are NHWC, weights packed by
`tvm_layers`.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from resnet_trt_node.backends.tvm.workload import Registers, Tile, Workload

#: Block annotation that says which workload a block computes.
WORKLOAD = 'resnet_trt.workload'

Choose = Callable[[Workload], Tile]


def schedule_module(tvm: Any, module: Any, choose: Choose, registers: Registers) -> Any:
    """
    Return a module whose loops are scheduled for the CPU.

    :param tvm: the package.
    :param module: an IRModule after FuseTIR; functions that are no loops pass through.
    :param choose: gives the tile of a workload, the one its weights were packed for.
    :param registers: those of the processor.
    """
    functions = {}
    for name, function in module.functions.items():
        if isinstance(function, tvm.tirx.PrimFunc):
            function = schedule_function(tvm, function, choose, registers)
        functions[name] = function
    return tvm.IRModule(functions, attrs=module.attrs)


def schedule_function(tvm: Any, function: Any, choose: Choose, registers: Registers) -> Any:
    """Return one function with its loops scheduled."""
    schedule = tvm.s_tir.Schedule(tvm.IRModule({'main': function}))
    found = None
    for block in _blocks(schedule):
        annotations = schedule.get(block).annotations
        if WORKLOAD in annotations:
            found = block, Workload.parse(str(annotations[WORKLOAD]))
    if found is not None:
        block, workload = found
        _inline_all(tvm, schedule, keep=_name(schedule, block))
        _tile(schedule, block, workload, choose(workload), registers)
    else:
        _inline_all(tvm, schedule)
        for block in _blocks(schedule):
            _plain(tvm, schedule, block, registers)
    return schedule.mod['main'].with_attr('tirx.is_scheduled', True)


def _blocks(schedule: Any) -> list[Any]:
    return list(schedule.get_child_blocks(schedule.get_sblock('root')))


def _name(schedule: Any, block: Any) -> str:
    return str(schedule.get(block).name_hint)


def _inline_all(tvm: Any, schedule: Any, keep: str = '') -> None:
    """Inline what is computed element by element into what reads it, padding apart."""
    for block in _blocks(schedule):
        name = _name(schedule, block)
        if name == keep or (keep and name.startswith('padded')):
            continue
        if _is_spatial(tvm, schedule, block) and schedule.get_consumers(block):
            try:
                schedule.compute_inline(block)
            except tvm.s_tir.ScheduleError:
                # It is read in a way that needs it whole; it is then a loop of its own.
                continue


def _is_spatial(tvm: Any, schedule: Any, block: Any) -> bool:
    return all(
        var.iter_type == tvm.tirx.IterVar.DataPar for var in schedule.get(block).iter_vars)


def _tile(
        schedule: Any, block: Any, workload: Workload, tile: Tile, registers: Registers) -> None:
    """Schedule a workload's block and the one that writes the result."""
    lanes = registers.vector(tile.filters)
    for producer in schedule.get_producers(block):
        if _name(schedule, producer).startswith('padded'):
            _padding(schedule, producer, registers)
    consumers = schedule.get_consumers(block)
    if len(consumers) != 1:
        # It writes the result itself, or several blocks read it: its sums are copied out.
        schedule.cache_write(block, 0, 'global')
        consumers = schedule.get_consumers(block)
    last, = consumers
    inner = _cut(schedule, schedule.get_loops(last), tile, lanes)
    outside = len(schedule.get_loops(last)) - len(inner) + 1
    schedule.compute_at(block, inner[0], preserve_unit_loops=True)
    schedule.set_scope(block, 0, 'local')
    schedule.vectorize(inner[-1])
    for loop in inner[1:-1]:
        schedule.unroll(loop)
    _sum(schedule, block, workload, tile, lanes, outside)


def _cut(schedule: Any, loops: list[Any], tile: Tile, lanes: int) -> list[Any]:
    """Cut the loops of the writing block; return the loop over tiles and those inside."""
    batch, channel = loops[0], loops[-1]
    outer_filters, filters = schedule.split(channel, [None, tile.filters])
    filters, vector = schedule.split(filters, [None, lanes])
    outer, inner = [], []
    for loop, size in zip(loops[1:-1], (tile.rows, tile.columns)):
        cut = schedule.split(loop, [None, size])
        outer.append(cut[0])
        inner.append(cut[1])
    if tile.order == 'batch':
        around, serial = [outer_filters, *outer[:1]], [batch, *outer[1:]]
    elif tile.order == 'rows':
        around, serial = [batch, *outer[:1], outer_filters, *outer[1:]], []
    else:
        around, serial = [batch, outer_filters, *outer], []
    schedule.reorder(*around, *serial, *inner, filters, vector)
    parallel = schedule.fuse(*around)
    schedule.parallel(parallel)
    return [serial[-1] if serial else parallel, *inner, filters, vector]


def _sum(
        schedule: Any, block: Any, workload: Workload, tile: Tile, lanes: int,
        outside: int) -> None:
    """Order the loops of the sums: channels and filter outside, the unrolled tile inside."""
    loops = schedule.get_loops(block)[outside:]
    spatial = 2 if workload.kind == 'dense' else 4
    summed = loops[spatial:]
    channel = loops[spatial - 1]
    vectors, vector = schedule.split(channel, [None, lanes])
    if workload.kind == 'depthwise':
        order = summed
    else:
        outer, inner = schedule.split(summed[-1], [None, tile.depth or workload.channels])
        order = [outer, *summed[:-1], inner]
    schedule.reorder(*order, *loops[1:spatial - 1], vectors, vector)
    schedule.vectorize(vector)
    for loop in (*loops[1:spatial - 1], vectors):
        schedule.unroll(loop)
    schedule.decompose_reduction(block, order[0])


def _padding(schedule: Any, block: Any, registers: Registers) -> None:
    """Write the input with its zeros, rows in parallel."""
    loops = schedule.get_loops(block)
    channels = int(schedule.get(loops[-1]).extent)
    lanes = registers.vector(channels)
    if lanes > 1:
        _, vector = schedule.split(loops[-1], [None, lanes])
        schedule.vectorize(vector)
    schedule.parallel(schedule.fuse(*loops[:2]))


def _plain(tvm: Any, schedule: Any, block: Any, registers: Registers) -> None:
    """Parallel over the outer loops, sums inside them, the last axis in vectors."""
    loops = schedule.get_loops(block)
    kinds = [var.iter_type for var in schedule.get(block).iter_vars]
    if len(loops) != len(kinds) or not loops:
        return
    spatial = [loop for loop, kind in zip(loops, kinds) if kind == tvm.tirx.IterVar.DataPar]
    summed = [loop for loop, kind in zip(loops, kinds) if kind != tvm.tirx.IterVar.DataPar]
    if not spatial:
        return
    vector: Optional[Any] = None
    last = schedule.get(spatial[-1]).extent
    if isinstance(last, tvm.tirx.IntImm) and registers.vector(int(last)) > 1:
        outer, vector = schedule.split(spatial[-1], [None, registers.vector(int(last))])
        spatial[-1] = outer
    order = [*spatial, *summed, *([vector] if vector is not None else [])]
    schedule.reorder(*order)
    schedule.parallel(schedule.fuse(*spatial))
    if vector is not None:
        schedule.vectorize(vector)
    if summed:
        schedule.decompose_reduction(block, summed[0])
