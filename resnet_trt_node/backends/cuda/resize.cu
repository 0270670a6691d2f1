// From camera frames in device memory to rows of a batch: conversion to RGB, resize, crop.
//
// The result is that of the CPU, bit for bit: OpenCV's conversion of the encoding, then Pillow's
// resize of the whole picture (or of a region as a picture of its own) and the crop, by two
// passes in 22-bit fixed point, along the rows first, rounded to 8 bit in between.
// Only the crop is computed, and only the pixels that it needs are converted and need be there.
//
// One source for two compilers: NVRTC, with --fmad=false because weights are computed in double,
// and, for tests without a GPU, a C++ compiler. `struct Job` equals the dtype `JOB` in
// imaging/on_device/job.py, which has what each field means.

#ifdef __CUDACC_RTC__
// What a block does in one step; it ends when all of its threads have done it.
#define STEP(call) call; __syncthreads()
#else
#define __device__
#define STEP(call) for (int thread = 0; thread < THREADS; ++thread) call
#endif

// Rows and columns of output that a block of as many threads makes.
constexpr int TILE = 16;
constexpr int THREADS = TILE * TILE;
// Source pixels that one output pixel reads along an axis; MAX_TAPS in imaging/on_device/grid.py.
constexpr int MAX_TAPS = 128;
// Source rows that are resized along the row at a time.
constexpr int CHUNK = 96;
// Pillow's weights are multiples of 2^-22.
constexpr int BITS = 22;
constexpr int HALF = 1 << (BITS - 1);

enum Filter { NEAREST, BILINEAR, BICUBIC };
enum Kind { INTERLEAVED_8, INTERLEAVED_16, BAYER_8, BAYER_16, YUV };

struct Axis {
  double scale;
  int source, length;
  int first, start, count, unused;
};

struct Grid {
  Axis axes[2];
  int filter;
  unsigned char pad[4];
};

struct Plane {
  unsigned long long address;
  long long pitch;
  int step, x_shift, y_shift, unused;
};

struct Source {
  Plane planes[3];
  int kind, height, width;
  int high_byte;
  int red_row, red_column;
};

struct Job {
  Grid grid;
  Source source;
  int row, unused;
};

// While the weights are computed they are floating-point numbers.
union Weight {
  double real;
  int fixed;
};

// Of the output rows, or columns, of a block; neighbouring threads read neighbouring weights.
struct Table {
  Weight weights[MAX_TAPS][TILE];
  double sums[TILE];
  int first[TILE], taps[TILE];
};

// What the threads of a block share.
struct Block {
  int origin[2];
  Table tables[2];
  unsigned char lines[CHUNK][TILE][4];
};

__device__ inline int clip(int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

__device__ inline int between(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

// Addresses are those of the picture's first pixel, which need not be there; sums wrap around.
__device__ inline const unsigned char* at(const Plane& plane, int y, int x) {
  return reinterpret_cast<const unsigned char*>(
      plane.address + y * plane.pitch + static_cast<long long>(x) * plane.step);
}

template <bool DEEP>
__device__ inline int value_at(const Source& source, const Plane& plane, int y, int x) {
  const unsigned char* value = at(plane, y, x);
  return DEEP ? value[source.high_byte] << 8 | value[1 - source.high_byte] : *value;
}

// v * 255 / 65535, rounded: OpenCV's result for all 65536 values.
template <bool DEEP>
__device__ inline int to_8_bit(int value) {
  return DEEP ? (value + 128) / 257 : value;
}

// OpenCV's bilinear interpolation; a picture's outermost pixels are copies of their neighbours.
template <bool DEEP>
__device__ inline void fetch_bayer(const Source& source, int y, int x, int rgb[3]) {
  y = between(y, 1, source.height - 2);
  x = between(x, 1, source.width - 2);
  int near[3][3];
  for (int j = 0; j < 3; ++j)
    for (int i = 0; i < 3; ++i)
      near[j][i] = value_at<DEEP>(source, source.planes[0], y + j - 1, x + i - 1);
  const bool red_row = (y & 1) == source.red_row, red_column = (x & 1) == source.red_column;
  if (red_row == red_column) {
    const int cross = (near[0][1] + near[1][0] + near[1][2] + near[2][1] + 2) >> 2;
    const int corners = (near[0][0] + near[0][2] + near[2][0] + near[2][2] + 2) >> 2;
    rgb[0] = to_8_bit<DEEP>(red_row ? near[1][1] : corners);
    rgb[1] = to_8_bit<DEEP>(cross);
    rgb[2] = to_8_bit<DEEP>(red_row ? corners : near[1][1]);
  } else {
    const int along = (near[1][0] + near[1][2] + 1) >> 1;
    const int across = (near[0][1] + near[2][1] + 1) >> 1;
    rgb[0] = to_8_bit<DEEP>(red_row ? along : across);
    rgb[1] = to_8_bit<DEEP>(near[1][1]);
    rgb[2] = to_8_bit<DEEP>(red_row ? across : along);
  }
}

// BT.601 with video range, by OpenCV's integers of 20 bits.
__device__ inline void fetch_yuv(const Source& source, int y, int x, int rgb[3]) {
  int yuv[3];
  for (int c = 0; c < 3; ++c) {
    const Plane& plane = source.planes[c];
    yuv[c] = *at(plane, y >> plane.y_shift, x >> plane.x_shift);
  }
  const int luma = (yuv[0] < 16 ? 0 : yuv[0] - 16) * 1220542 + (1 << 19);
  const int u = yuv[1] - 128, v = yuv[2] - 128;
  rgb[0] = clip((luma + 1673527 * v) >> 20);
  rgb[1] = clip((luma - 852492 * v - 409993 * u) >> 20);
  rgb[2] = clip((luma + 2116026 * u) >> 20);
}

template <int KIND>
__device__ inline void fetch(const Source& source, int y, int x, int rgb[3]) {
  if (KIND == BAYER_8 || KIND == BAYER_16) {
    fetch_bayer<KIND == BAYER_16>(source, y, x, rgb);
  } else if (KIND == YUV) {
    fetch_yuv(source, y, x, rgb);
  } else {
    constexpr bool deep = KIND == INTERLEAVED_16;
    for (int c = 0; c < 3; ++c)
      rgb[c] = to_8_bit<deep>(value_at<deep>(source, source.planes[c], y, x));
  }
}

__device__ inline double filtered(int filter, double x) {
  if (x < 0.0) x = -x;
  if (filter == BILINEAR) return x < 1.0 ? 1.0 - x : 0.0;
  if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
  return 0.0;
}

// Whether a row or column of the output is in the rectangle that the picture fills.
__device__ inline bool is_filled(const Axis& axis, int place) {
  return place >= axis.start && place < axis.start + axis.count;
}

// A thread computes every eighth weight of one row or column of the tile.
constexpr int SHARE = THREADS / (2 * TILE);

__device__ void weigh(const Grid& grid, Block& block, int thread) {
  const int which = thread / (SHARE * TILE), index = thread % TILE;
  const Axis& axis = grid.axes[which];
  Table& table = block.tables[which];
  const int place = block.origin[which] + index, output = axis.first + place - axis.start;
  int low = 0, high = 0;
  if (is_filled(axis, place) && grid.filter == NEAREST) {
    // Pillow adds the scale again and again; its rounding errors decide ties.
    double center = 0.5 * axis.scale;
    for (int i = 0; i < output; ++i) center += axis.scale;
    low = between(static_cast<int>(center), 0, axis.length - 1);
    high = low + 1;
    table.weights[0][index].real = 1.0;
  } else if (is_filled(axis, place)) {
    const double wide = axis.scale < 1.0 ? 1.0 : axis.scale;
    const double support = (grid.filter == BILINEAR ? 1.0 : 2.0) * wide, narrow = 1.0 / wide;
    const double center = (output + 0.5) * axis.scale;
    low = between(static_cast<int>(center - support + 0.5), 0, axis.length);
    high = between(static_cast<int>(center + support + 0.5), 0, axis.length);
    for (int tap = thread / TILE % SHARE; tap < high - low; tap += SHARE)
      table.weights[tap][index].real =
          filtered(grid.filter, (tap + low - center + 0.5) * narrow);
  }
  table.first[index] = low;
  table.taps[index] = high - low;
}

// One thread a row or column: the order of the additions shows.
__device__ void add_weights(Block& block, int thread) {
  if (thread >= 2 * TILE) return;
  Table& table = block.tables[thread / TILE];
  const int index = thread % TILE;
  double sum = 0.0;
  for (int tap = 0; tap < table.taps[index]; ++tap) sum += table.weights[tap][index].real;
  table.sums[index] = sum;
}

__device__ void round_weights(Block& block, int thread) {
  const int index = thread % TILE;
  Table& table = block.tables[thread / (SHARE * TILE)];
  const double sum = table.sums[index];
  for (int tap = thread / TILE % SHARE; tap < table.taps[index]; tap += SHARE) {
    Weight& weight = table.weights[tap][index];
    const double share = (sum == 0.0 ? weight.real : weight.real / sum) * (1 << BITS);
    weight.fixed = static_cast<int>(share < 0.0 ? share - 0.5 : share + 0.5);
  }
}

// The columns of the tile of source rows `from` to `to`, counted from the picture's first.
template <int KIND>
__device__ void resize_lines(const Job& job, Block& block, int from, int to, int thread) {
  const Table& table = block.tables[1];
  const Source source = job.source;
  const int index = thread % TILE, taps = table.taps[index];
  const int top = job.grid.axes[0].source, left = job.grid.axes[1].source + table.first[index];
  if (taps == 0) return;
  for (int row = from + thread / TILE; row < to; row += TILE) {
    int sums[3] = {HALF, HALF, HALF};
    for (int tap = 0; tap < taps; ++tap) {
      int rgb[3];
      fetch<KIND>(source, top + row, left + tap, rgb);
      const int weight = table.weights[tap][index].fixed;
      for (int c = 0; c < 3; ++c) sums[c] += rgb[c] * weight;
    }
    for (int c = 0; c < 3; ++c)
      block.lines[row - from][index][c] = static_cast<unsigned char>(clip(sums[c] >> BITS));
  }
}

// What these rows add to the thread's pixel.
__device__ void add_lines(const Block& block, int from, int to, int thread, int sums[3]) {
  const Table& table = block.tables[0];
  const int y = thread / TILE, x = thread % TILE;
  const int first = table.first[y], end = first + table.taps[y];
  for (int row = first < from ? from : first; row < (end < to ? end : to); ++row) {
    const int weight = table.weights[row - first][y].fixed;
    for (int c = 0; c < 3; ++c) sums[c] += block.lines[row - from][x][c] * weight;
  }
}

__device__ void write_pixel(const Job& job, const Block& block, int thread, const int sums[3],
                            unsigned char* out, int height, int width) {
  const int y = block.origin[0] + thread / TILE, x = block.origin[1] + thread % TILE;
  if (y >= height || x >= width) return;
  const bool filled = is_filled(job.grid.axes[0], y) && is_filled(job.grid.axes[1], x);
  unsigned char* pixel = out + 3 * ((static_cast<long long>(job.row) * height + y) * width + x);
  for (int c = 0; c < 3; ++c)
    pixel[c] = filled ? static_cast<unsigned char>(clip(sums[c] >> BITS)) : job.grid.pad[c];
}

#ifdef __CUDACC_RTC__
// Grid: tiles across, tiles down, jobs. Block: TILE x TILE. out: (batch, height, width, 3).
extern "C" __global__ void resize(const Job* jobs, unsigned char* out, int height, int width) {
  __shared__ Block block;
  const Job& job = jobs[blockIdx.z];
  if (job.row < 0) return;
  const int tile_y = blockIdx.y, tile_x = blockIdx.x;
  const int thread = threadIdx.y * TILE + threadIdx.x;
  int own_sums[1][3];
#else
// The same for tests, each step by one thread after the other.
static void resize(const Job& job, int tile_y, int tile_x, unsigned char* out, int height,
                   int width) {
  Block block;
  int own_sums[THREADS][3];
#endif
  constexpr int own = sizeof(own_sums) / sizeof(own_sums[0]);
  block.origin[0] = tile_y * TILE;
  block.origin[1] = tile_x * TILE;
  for (auto& sums : own_sums)
    for (int& sum : sums) sum = HALF;
  STEP(weigh(job.grid, block, thread));
  STEP(add_weights(block, thread));
  STEP(round_weights(block, thread));
  // Rows and columns beside the rectangle have no taps, so that first and end are those of others.
  const Table& rows = block.tables[0];
  const int first = between(job.grid.axes[0].start - tile_y * TILE, 0, TILE - 1);
  const int last = between(
      job.grid.axes[0].start + job.grid.axes[0].count - 1 - tile_y * TILE, 0, TILE - 1);
  const int end = rows.first[last] + rows.taps[last];
  for (int from = rows.first[first]; from < end; from += CHUNK) {
    const int to = from + CHUNK < end ? from + CHUNK : end;
    switch (job.source.kind) {
      case INTERLEAVED_8: STEP(resize_lines<INTERLEAVED_8>(job, block, from, to, thread)); break;
      case INTERLEAVED_16: STEP(resize_lines<INTERLEAVED_16>(job, block, from, to, thread)); break;
      case BAYER_8: STEP(resize_lines<BAYER_8>(job, block, from, to, thread)); break;
      case BAYER_16: STEP(resize_lines<BAYER_16>(job, block, from, to, thread)); break;
      default: STEP(resize_lines<YUV>(job, block, from, to, thread));
    }
    STEP(add_lines(block, from, to, thread, own_sums[thread % own]));
  }
  STEP(write_pixel(job, block, thread, own_sums[thread % own], out, height, width));
}

#ifndef __CUDACC_RTC__
extern "C" void resize_on_cpu(const Job* jobs, int count, unsigned char* out, int height,
                              int width) {
  for (const Job* job = jobs; job < jobs + count; ++job)
    for (int y = 0; job->row >= 0 && y * TILE < height; ++y)
      for (int x = 0; x * TILE < width; ++x) resize(*job, y, x, out, height, width);
}

// For comparing them with the dtype: the sizes of the structs and where their last parts lie.
extern "C" void describe_job(int* sizes) {
  const unsigned long values[] = {
      sizeof(Job), sizeof(Grid), sizeof(Source), sizeof(Axis), sizeof(Plane),
      __builtin_offsetof(Job, row), __builtin_offsetof(Grid, pad),
      __builtin_offsetof(Source, red_column), __builtin_offsetof(Axis, count),
      __builtin_offsetof(Plane, y_shift)};
  for (unsigned long value : values) *sizes++ = static_cast<int>(value);
}
#endif
