/**
 * Pillow's `resize(..., BILINEAR)` of 8-bit RGB, to the bit: weights in fixed point, along rows
 * first, rounded to bytes in between. A canvas scales otherwise, which costs masks up to 5 % of IoU.
 *
 * Source: Pillow's `src/libImaging/Resample.c`, `precompute_coeffs` and `normalize_coeffs_8bpc`.
 */
import type { Corners, Pair } from "../api/types";
import { type PixelSource, STRIPE } from "./pixels";

/** Bits of a weight behind the point: 32, less 8 for the pixel and 2 to be safe. */
const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

interface Taps {
  /** For each pixel of the result its first source pixel, and how many there are. */
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `most` weights a pixel. */
  readonly weights: Int32Array;
  readonly most: number;
}

/** @returns RGB of the part at `size` (height and width), row by row. */
export function resized(source: PixelSource, [x0, y0, x1, y1]: Corners, [height, width]: Pair): Uint8Array {
  const rows = y1 - y0;
  const narrow = new Uint8Array(3 * width * rows);
  const across = x1 - x0 === width ? null : taps(x1 - x0, width);
  for (let top = 0; top < rows; top += STRIPE) {
    const count = Math.min(STRIPE, rows - top);
    const data = source.rows(y0 + top, count);
    for (let row = 0; row < count; row++) {
      const from = 4 * (row * source.width + x0);
      const to = 3 * width * (top + row);
      if (across) scaleRow(data, from, across, narrow, to, width);
      else copyRow(data, from, narrow, to, width);
    }
  }
  return rows === height ? narrow : scaledDown(narrow, 3 * width, taps(rows, height), height);
}

function copyRow(data: ArrayLike<number>, from: number, into: Uint8Array, to: number, width: number): void {
  for (let x = 0; x < width; x++, from += 4, to += 3) {
    into[to] = data[from];
    into[to + 1] = data[from + 1];
    into[to + 2] = data[from + 2];
  }
}

function scaleRow(
  data: Uint8Array | Uint8ClampedArray,
  from: number,
  { first, count, weights, most }: Taps,
  into: Uint8Array,
  to: number,
  width: number,
): void {
  for (let x = 0; x < width; x++, to += 3) {
    let red = HALF;
    let green = HALF;
    let blue = HALF;
    let at = from + 4 * first[x];
    const end = most * x + count[x];
    for (let tap = most * x; tap < end; tap++, at += 4) {
      const weight = weights[tap];
      red += data[at] * weight;
      green += data[at + 1] * weight;
      blue += data[at + 2] * weight;
    }
    // Weights are never negative and add up to one, so bytes stay bytes but for the rounding.
    into[to] = Math.min(255, red >> PRECISION_BITS);
    into[to + 1] = Math.min(255, green >> PRECISION_BITS);
    into[to + 2] = Math.min(255, blue >> PRECISION_BITS);
  }
}

function scaledDown(rows: Uint8Array, stride: number, down: Taps, height: number): Uint8Array {
  const result = new Uint8Array(stride * height);
  const sums = new Int32Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let tap = 0; tap < down.count[y]; tap++) {
      const weight = down.weights[down.most * y + tap];
      const from = stride * (down.first[y] + tap);
      for (let i = 0; i < stride; i++) sums[i] += rows[from + i] * weight;
    }
    for (let i = 0; i < stride; i++) result[stride * y + i] = Math.min(255, sums[i] >> PRECISION_BITS);
  }
  return result;
}

function taps(source: number, target: number): Taps {
  const scale = source / target;
  const support = Math.max(scale, 1); // of the triangle, whose radius is 1
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(target);
  const count = new Int32Array(target);
  const weights = new Int32Array(most * target);
  for (let pixel = 0; pixel < target; pixel++) {
    const centre = (pixel + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(source, Math.trunc(centre + support + 0.5));
    const mine = Array.from({ length: high - low }, (_, tap) => {
      const away = Math.abs((low + tap - centre + 0.5) * (1 / support));
      return away < 1 ? 1 - away : 0;
    });
    const total = mine.reduce((sum, weight) => sum + weight, 0);
    first[pixel] = low;
    count[pixel] = mine.length;
    for (let tap = 0; tap < mine.length; tap++) {
      const share = total === 0 ? mine[tap] : mine[tap] / total;
      weights[most * pixel + tap] = Math.trunc(0.5 + share * (1 << PRECISION_BITS));
    }
  }
  return { first, count, weights, most };
}
