"""
Loops for a CPU: tiles whose sums stay in registers, and plain parallel loops for the rest.

TVM's own rules leave a convolution as seven nested scalar loops. Here each one, with what was
fused behind it, becomes: parallel over tiles; for each, sum over channels and filter; all results
of a tile unrolled, their channels in vectors. Activations are NHWC, weights packed by `layers`.
"""

from __future__ import annotations

from typing import Any

from resnet_trt_node.backends.tvm.tiles import Registers, Tile, Workload

#: Annotation of a block that computes a workload: the kind, and how it is cut.
TILE = 'resnet_trt.tile'


def tile_note(workload: Workload, tile: Tile) -> str:
    """Return the annotation of a block that computes a workload."""
    return f'{workload.kind} {tile.filters} {tile.rows} {tile.columns}'


def schedule_module(tvm: Any, module: Any, registers: Registers) -> Any:
    """
    Return a module whose loops are scheduled for the CPU.

    :param tvm: the package.
    :param module: an IRModule after FuseTIR; functions that are no loops pass through.
    :param registers: those of the processor.
    """
    return tvm.IRModule({
        name: _schedule(tvm, function, registers)
        if isinstance(function, tvm.tirx.PrimFunc) else function
        for name, function in module.functions.items()}, attrs=module.attrs)


def _schedule(tvm: Any, function: Any, registers: Registers) -> Any:
    """Return one function with its loops scheduled."""
    schedule = tvm.s_tir.Schedule(tvm.IRModule({'main': function}))
    noted = [block for block in _blocks(schedule) if TILE in schedule.get(block).annotations]
    if noted:
        block = noted[-1]
        kind, *sides = str(schedule.get(block).annotations[TILE]).split()
        _inline_all(tvm, schedule, keep=_name(schedule, block))
        _tile(schedule, block, kind, Tile(*map(int, sides)), registers)
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
        spatial = all(var.iter_type == tvm.tirx.IterVar.DataPar
                      for var in schedule.get(block).iter_vars)
        if spatial and schedule.get_consumers(block):
            try:
                schedule.compute_inline(block)
            except tvm.s_tir.ScheduleError:
                # It is read in a way that needs it whole; it is then a loop of its own.
                continue


def _tile(schedule: Any, block: Any, kind: str, tile: Tile, registers: Registers) -> None:
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
    parallel, *inner, vector = _cut(schedule, schedule.get_loops(last), kind, tile, lanes)
    outside = len(schedule.get_loops(last)) - len(inner) - 1
    schedule.compute_at(block, parallel, preserve_unit_loops=True)
    schedule.set_scope(block, 0, 'local')
    schedule.vectorize(vector)
    for loop in inner:
        schedule.unroll(loop)
    _sum(schedule, block, schedule.get_loops(block)[outside:], kind, lanes)


def _cut(schedule: Any, loops: list[Any], kind: str, tile: Tile, lanes: int) -> list[Any]:
    """Cut the loops of the writing block; return the loop over tiles and those inside."""
    batch, *sides, channel = loops
    blocks, filters = schedule.split(channel, [None, tile.filters])
    filters, vector = schedule.split(filters, [None, lanes])
    cut = [schedule.split(loop, [None, size])
           for loop, size in zip(sides, (tile.rows, tile.columns))]
    outer, inner = [pair[0] for pair in cut], [pair[1] for pair in cut]
    # A depthwise filter is small: walk over all of them with the same rows of the picture. Others
    # keep a block of weights in the cache and walk over the picture.
    around = [batch, *outer[:1], blocks, *outer[1:]] if kind == 'depthwise' else [
        batch, blocks, *outer]
    schedule.reorder(*around, *inner, filters, vector)
    parallel = schedule.fuse(*around)
    schedule.parallel(parallel)
    return [parallel, *inner, filters, vector]


def _sum(schedule: Any, block: Any, loops: list[Any], kind: str, lanes: int) -> None:
    """Order the loops of the sums: channels and filter outside, the unrolled tile inside."""
    spatial = 2 if kind == 'dense' else 4
    pixels, channel, summed = loops[1:spatial - 1], loops[spatial - 1], loops[spatial:]
    vectors, vector = schedule.split(channel, [None, lanes])
    schedule.reorder(*summed, *pixels, vectors, vector)
    schedule.vectorize(vector)
    for loop in (*pixels, vectors):
        schedule.unroll(loop)
    schedule.decompose_reduction(block, summed[0])


def _padding(schedule: Any, block: Any, registers: Registers) -> None:
    """Write the input with its zeros, rows in parallel."""
    loops = schedule.get_loops(block)
    for vector in _cut_vector(schedule, loops[-1], registers)[1:]:
        schedule.vectorize(vector)
    schedule.parallel(schedule.fuse(*loops[:2]))


def _cut_vector(schedule: Any, loop: Any, registers: Registers) -> list[Any]:
    """Return the loop over the vectors of a loop, and the vector; or the loop alone."""
    extent = schedule.get(loop).extent
    # The number of frames is a variable.
    lanes = registers.vector(int(extent)) if hasattr(extent, 'value') else 1
    return list(schedule.split(loop, [None, lanes])) if lanes > 1 else [loop]


def _plain(tvm: Any, schedule: Any, block: Any, registers: Registers) -> None:
    """Parallel over the outer loops, sums inside them, the last axis in vectors."""
    loops = schedule.get_loops(block)
    kinds = [var.iter_type for var in schedule.get(block).iter_vars]
    if len(loops) != len(kinds):
        return
    spatial = [loop for loop, kind in zip(loops, kinds) if kind == tvm.tirx.IterVar.DataPar]
    summed = [loop for loop, kind in zip(loops, kinds) if kind != tvm.tirx.IterVar.DataPar]
    if not spatial:
        return
    spatial[-1], *vectors = _cut_vector(schedule, spatial[-1], registers)
    schedule.reorder(*spatial, *summed, *vectors)
    schedule.parallel(schedule.fuse(*spatial))
    for vector in vectors:
        schedule.vectorize(vector)
    if summed:
        schedule.decompose_reduction(block, summed[0])
