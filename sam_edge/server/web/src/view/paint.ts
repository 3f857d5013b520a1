/** Masks into pixels of a canvas: a tint, and an outline that stays thin at every zoom. */
import { type Region, columnCount } from "../mask/region";

/** What a mask looks like. Colours are as `pixel` makes them. */
export interface Look {
  readonly fill: number;
  readonly edge: number;
  /** Shown by turns with `edge`: a dashed line that is seen on light and on dark. */
  readonly dash: number;
  /** Width of the outline in canvas pixels. */
  readonly line: number;
}

/** A part of a canvas, as rows of RGBA pixels. */
export interface Raster {
  readonly pixels: Uint32Array;
  readonly width: number;
  readonly height: number;
}

/** Where a region's pixels lie on a raster: raster = offset + scale * region. */
export interface Placement {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

export function pixel(red: number, green: number, blue: number, alpha: number): number {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0; // little endian, as everywhere
}

export function paint(raster: Raster, region: Region, to: Placement, look: Look): void {
  const { width } = raster;
  const columns = columnCount(region);
  const thin = { ...look, line: 1 };
  const from = Math.max(-1, Math.ceil(region.left * to.scale + to.x - 0.5));
  const end = Math.min(width + 1, Math.ceil((region.left + columns) * to.scale + to.x - 0.5));
  let before: number[] = [];
  let beforeColumn = -1;
  if (from === -1) {
    // The column beside the window tells whether the first one in it is an edge.
    beforeColumn = Math.floor((from + 0.5 - to.x) / to.scale) - region.left;
    before = runs(region, beforeColumn, to, raster.height);
  }
  for (let x = Math.max(0, from); x < end; x++) {
    const column = Math.floor((x + 0.5 - to.x) / to.scale) - region.left;
    const same = column === beforeColumn;
    const here = same ? before : runs(region, column, to, raster.height);
    if (x < width) {
      for (let i = 0; i < here.length; i += 2) fillColumn(raster, x, here[i], here[i + 1], look, thin);
    }
    if (!same) {
      difference(here, before, (top, bottom) => mark(raster, x, 1, top, bottom, look));
      difference(before, here, (top, bottom) => mark(raster, x - 1, -1, top, bottom, look));
    }
    before = here;
    beforeColumn = column;
  }
  if (end <= width) {
    for (let i = 0; i < before.length; i += 2) mark(raster, end - 1, -1, before[i], before[i + 1], look);
  }
}

/** A column's runs in the raster's rows, those outside of it left out; ends may lie past it. */
function runs(region: Region, column: number, to: Placement, height: number): number[] {
  const result: number[] = [];
  if (column < 0 || column >= columnCount(region)) return result;
  for (let j = region.start[column]; j < region.start[column + 1]; j++) {
    const top = Math.max(-8, Math.ceil(region.rows[2 * j] * to.scale + to.y - 0.5));
    const bottom = Math.min(height + 8, Math.ceil(region.rows[2 * j + 1] * to.scale + to.y - 0.5));
    if (bottom <= top) continue;
    if (result.length && result[result.length - 1] >= top) result[result.length - 1] = bottom;
    else result.push(top, bottom);
  }
  return result;
}

/** @param thin the same look with a line of one column. */
function fillColumn(raster: Raster, x: number, top: number, bottom: number, look: Look, thin: Look): void {
  const { pixels, width, height } = raster;
  const first = Math.max(0, top);
  const last = Math.min(height, bottom);
  for (let y = first, at = first * width + x; y < last; y++, at += width) pixels[at] = look.fill;
  mark(raster, x, 1, top, Math.min(bottom, top + look.line), thin);
  mark(raster, x, 1, Math.max(top, bottom - look.line), bottom, thin);
}

/** Draw a piece of outline: `line` columns from x on, inwards. */
function mark(raster: Raster, x: number, step: number, top: number, bottom: number, look: Look): void {
  const { pixels, width, height } = raster;
  const first = Math.max(0, top);
  const last = Math.min(height, bottom);
  for (let n = 0; n < look.line; n++, x += step) {
    if (x < 0 || x >= width) continue;
    for (let y = first, at = first * width + x; y < last; y++, at += width) {
      pixels[at] = ((x + y) >> 2) & 1 ? look.dash : look.edge;
    }
  }
}

/** The rows of runs `a` that are not in runs `b`. */
function difference(a: number[], b: number[], found: (top: number, bottom: number) => void): void {
  let j = 0;
  for (let i = 0; i < a.length; i += 2) {
    let top = a[i];
    const bottom = a[i + 1];
    while (j < b.length && b[j + 1] <= top) j += 2;
    for (let k = j; k < b.length && b[k] < bottom; k += 2) {
      if (b[k] > top) found(top, b[k]);
      top = Math.max(top, b[k + 1]);
    }
    if (top < bottom) found(top, bottom);
  }
}
