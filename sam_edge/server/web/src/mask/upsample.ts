/**
 * From the decoder's low-resolution logits to a mask, as `sam_edge/masks/upsample.py` does it: two
 * bilinear resizes (to the encoder's frame, and of the photo's part of it to the photo) as one
 * step, computed only in the tiles that the outline runs through.
 */
import { EMPTY, type Region, RegionBuilder } from "./region";

const TILE = 48;
/** Taps of one pixel: two frame pixels with two samples each, which share at least one. */
const TAPS = 3;

interface Axis {
  readonly length: number;
  readonly tiles: number;
  /** For each pixel its first sample; TAPS weights follow one another in `weights`. */
  readonly first: Int32Array;
  readonly weights: Float32Array;
  /** For each tile the first and the last sample that any of its pixels takes. */
  readonly low: Int32Array;
  readonly high: Int32Array;
}

export interface Frame {
  /** Side S of the encoder's frame; the logits have a quarter of it. */
  readonly imageSize: number;
  /** Height and width of the photo inside that frame. */
  readonly inputSize: readonly [number, number];
}

/**
 * @param logits one mask's, `side * side` of them, row by row.
 * @param size height and width of the mask wanted: the photo's, or those it is displayed at.
 */
export function upsample(
  logits: Float32Array,
  side: number,
  frame: Frame,
  size: readonly [number, number],
  threshold: number,
): Region {
  const rows = axis(side, frame.imageSize, frame.inputSize[0], size[0]);
  const columns = axis(side, frame.imageSize, frame.inputSize[1], size[1]);
  const states = tileStates(logits, side, rows, columns, threshold);
  let firstTile = 0;
  let lastTile = columns.tiles - 1;
  const touched = (tile: number): boolean => {
    for (let row = 0; row < rows.tiles; row++) if (states[row * columns.tiles + tile]) return true;
    return false;
  };
  while (firstTile <= lastTile && !touched(firstTile)) firstTile++;
  while (lastTile > firstTile && !touched(lastTile)) lastTile--;
  if (firstTile > lastTile) return EMPTY;

  const builder = new RegionBuilder(firstTile * TILE);
  const strips: Float32Array[] = Array.from({ length: rows.tiles }, () => new Float32Array(0));
  for (let tile = firstTile; tile <= lastTile; tile++) {
    const low = columns.low[tile];
    const across = columns.high[tile] - low + 1;
    for (let row = 0; row < rows.tiles; row++) {
      if (states[row * columns.tiles + tile] === EDGE) {
        strips[row] = strip(logits, side, rows, row, low, across, strips[row]);
      }
    }
    const end = Math.min((tile + 1) * TILE, columns.length);
    for (let x = tile * TILE; x < end; x++) {
      builder.column();
      const offset = columns.first[x] - low;
      const w0 = columns.weights[TAPS * x];
      const w1 = columns.weights[TAPS * x + 1];
      const w2 = columns.weights[TAPS * x + 2];
      let since = -1;
      for (let row = 0; row < rows.tiles; row++) {
        const state = states[row * columns.tiles + tile];
        const top = row * TILE;
        if (state === OUTSIDE) {
          if (since >= 0) builder.run(since, top);
          since = -1;
        } else if (state === INSIDE) {
          if (since < 0) since = top;
        } else {
          const values = strips[row];
          const bottom = Math.min(top + TILE, rows.length);
          for (let y = top, at = offset; y < bottom; y++, at += across) {
            let value = values[at] * w0 + values[at + 1] * w1;
            if (w2 !== 0) value += values[at + 2] * w2;
            if (value > threshold) {
              if (since < 0) since = y;
            } else if (since >= 0) {
              builder.run(since, y);
              since = -1;
            }
          }
        }
      }
      if (since >= 0) builder.run(since, rows.length);
    }
  }
  return builder.build();
}

const OUTSIDE = 0;
const INSIDE = 1;
const EDGE = 2;

/** Weights are never negative and add up to one, so samples all above the threshold decide. */
function tileStates(
  logits: Float32Array,
  side: number,
  rows: Axis,
  columns: Axis,
  threshold: number,
): Uint8Array {
  // The tiles' extremes along rows first, then along columns: each sample is looked at few times.
  const least = new Float32Array(rows.tiles * side);
  const most = new Float32Array(rows.tiles * side);
  for (let tile = 0; tile < rows.tiles; tile++) {
    for (let x = 0; x < side; x++) {
      let low = Infinity;
      let high = -Infinity;
      for (let y = rows.low[tile]; y <= rows.high[tile]; y++) {
        const value = logits[y * side + x];
        if (value < low) low = value;
        if (value > high) high = value;
      }
      least[tile * side + x] = low;
      most[tile * side + x] = high;
    }
  }
  const states = new Uint8Array(rows.tiles * columns.tiles);
  for (let row = 0; row < rows.tiles; row++) {
    for (let column = 0; column < columns.tiles; column++) {
      let low = Infinity;
      let high = -Infinity;
      for (let x = columns.low[column]; x <= columns.high[column]; x++) {
        low = Math.min(low, least[row * side + x]);
        high = Math.max(high, most[row * side + x]);
      }
      states[row * columns.tiles + column] = low > threshold ? INSIDE : high > threshold ? EDGE : OUTSIDE;
    }
  }
  return states;
}

/** A tile's rows of pixels on the samples' columns `low` to `low + across`. */
function strip(
  logits: Float32Array,
  side: number,
  rows: Axis,
  tile: number,
  low: number,
  across: number,
  reuse: Float32Array,
): Float32Array {
  // Two samples more than needed, for the third tap of the last pixel, whose weight is 0.
  const result = reuse.length >= TILE * across + TAPS ? reuse : new Float32Array(TILE * across + TAPS);
  const bottom = Math.min((tile + 1) * TILE, rows.length);
  let at = 0;
  for (let y = tile * TILE; y < bottom; y++) {
    const source = rows.first[y] * side + low;
    const w0 = rows.weights[TAPS * y];
    const w1 = rows.weights[TAPS * y + 1];
    const w2 = rows.weights[TAPS * y + 2];
    for (let x = 0; x < across; x++, at++) {
      const from = source + x;
      result[at] = logits[from] * w0 + logits[from + side] * w1 + logits[from + 2 * side] * w2;
    }
  }
  return result;
}

const kept = new Map<string, Axis>();

function axis(samples: number, frame: number, input: number, length: number): Axis {
  const key = `${samples},${frame},${input},${length}`;
  let found = kept.get(key);
  if (!found) {
    found = composed(samples, frame, input, length);
    if (kept.size > 32) kept.clear();
    kept.set(key, found);
  }
  return found;
}

/** Compose `samples` -> `frame`, cropped to `input`, -> `length`. */
function composed(samples: number, frame: number, input: number, length: number): Axis {
  const first = new Int32Array(length);
  const weights = new Float32Array(TAPS * length);
  const tiles = Math.ceil(length / TILE);
  const low = new Int32Array(tiles).fill(samples);
  const high = new Int32Array(tiles);
  for (let pixel = 0; pixel < length; pixel++) {
    const outer = bilinear(pixel, input, length);
    const inner = [bilinear(outer.left, samples, frame), bilinear(outer.right, samples, frame)];
    const base = Math.min(inner[0].left, samples - TAPS);
    first[pixel] = base;
    for (let side = 0; side < 2; side++) {
      const share = side ? outer.weight : Math.fround(1 - outer.weight);
      const { left, right, weight } = inner[side];
      weights[TAPS * pixel + left - base] += Math.fround(share * Math.fround(1 - weight));
      weights[TAPS * pixel + right - base] += Math.fround(share * weight);
    }
    const tile = Math.floor(pixel / TILE);
    low[tile] = Math.min(low[tile], base);
    for (let tap = 0; tap < TAPS; tap++) {
      if (weights[TAPS * pixel + tap] !== 0) high[tile] = Math.max(high[tile], base + tap);
    }
  }
  return { length, tiles, first, weights, low, high };
}

/** The two taps of a sample as `F.interpolate` chooses them, positions in float32 as there. */
function bilinear(
  pixel: number,
  source: number,
  target: number,
): { left: number; right: number; weight: number } {
  const scale = Math.fround(source / target);
  const position = Math.max(0, Math.fround(Math.fround(scale * Math.fround(pixel + 0.5)) - 0.5));
  const left = Math.min(Math.floor(position), source - 1);
  const right = Math.min(left + 1, source - 1);
  return { left, right, weight: Math.min(1, Math.max(0, Math.fround(position - left))) };
}
