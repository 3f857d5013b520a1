/**
 * Masks as vertical runs of pixels: small at any photo's size, immutable, and quick to combine.
 *
 * Column `left + i` holds the runs `rows[2 * j], rows[2 * j + 1]` (first row, row after the last)
 * for j from `start[i]` to `start[i + 1]`, in order and never touching. COCO's run lengths go down
 * the columns as well, so the two are one format, cut at the column ends.
 */
export interface Region {
  readonly left: number;
  readonly start: Int32Array;
  readonly rows: Int32Array;
}

/** Half-open: x1 and y1 lie one past the last pixel. */
export interface Box {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

export const EMPTY: Region = { left: 0, start: new Int32Array(1), rows: new Int32Array(0) };

export function columnCount(region: Region): number {
  return region.start.length - 1;
}

export function isEmpty(region: Region): boolean {
  return region.rows.length === 0;
}

/** Collects runs column by column, from left to right. */
export class RegionBuilder {
  private readonly starts: number[] = [];
  private readonly runs: number[] = [];

  constructor(private readonly left: number) {}

  /** Begin the next column. */
  column(): void {
    this.starts.push(this.runs.length / 2);
  }

  /** Add a run to the current column, below those it has; one that touches the last prolongs it. */
  run(top: number, bottom: number): void {
    if (bottom <= top) return;
    const runs = this.runs;
    const count = runs.length / 2;
    if (count > this.starts[this.starts.length - 1] && runs[runs.length - 1] >= top) {
      runs[runs.length - 1] = Math.max(runs[runs.length - 1], bottom);
    } else {
      runs.push(top, bottom);
    }
  }

  /** Return the region without the empty columns at its sides. */
  build(): Region {
    const { starts, runs } = this;
    const total = runs.length / 2;
    if (total === 0) return EMPTY;
    let first = 0;
    let last = starts.length - 1;
    while (first < last && starts[first + 1] === 0) first++;
    while (last > first && starts[last] === total) last--;
    const start = new Int32Array(last - first + 2);
    for (let i = first; i <= last; i++) start[i - first] = starts[i];
    start[last - first + 1] = total;
    return { left: this.left + first, start, rows: Int32Array.from(runs) };
  }
}

export function area(region: Region): number {
  let sum = 0;
  const { rows } = region;
  for (let i = 0; i < rows.length; i += 2) sum += rows[i + 1] - rows[i];
  return sum;
}

export function boxOf(region: Region): Box | null {
  if (isEmpty(region)) return null;
  let y0 = Infinity;
  let y1 = -Infinity;
  const { rows, left } = region;
  for (let i = 0; i < rows.length; i += 2) {
    if (rows[i] < y0) y0 = rows[i];
    if (rows[i + 1] > y1) y1 = rows[i + 1];
  }
  return { x0: left, y0, x1: left + columnCount(region), y1 };
}

export function contains(region: Region, x: number, y: number): boolean {
  const column = Math.floor(x) - region.left;
  if (column < 0 || column >= columnCount(region)) return false;
  const row = Math.floor(y);
  for (let j = region.start[column]; j < region.start[column + 1]; j++) {
    if (row < region.rows[2 * j]) return false;
    if (row < region.rows[2 * j + 1]) return true;
  }
  return false;
}

export type Operation = "union" | "difference" | "intersection";

const KEEPS: Record<Operation, (a: boolean, b: boolean) => boolean> = {
  union: (a, b) => a || b,
  difference: (a, b) => a && !b,
  intersection: (a, b) => a && b,
};

export function combine(a: Region, b: Region, operation: Operation): Region {
  const keeps = KEEPS[operation];
  if (isEmpty(a) && operation !== "union") return EMPTY;
  if (isEmpty(a)) return b;
  if (isEmpty(b)) return operation === "intersection" ? EMPTY : a;
  const left = Math.min(a.left, b.left);
  const right = Math.max(a.left + columnCount(a), b.left + columnCount(b));
  const builder = new RegionBuilder(left);
  for (let x = left; x < right; x++) {
    builder.column();
    let [i, iEnd] = bounds(a, x);
    let [j, jEnd] = bounds(b, x);
    // Sweep over both columns' run ends; parity says whether the pixel lies in a run.
    let since = -1;
    while (i < iEnd || j < jEnd) {
      const nextA = i < iEnd ? a.rows[i] : Infinity;
      const nextB = j < jEnd ? b.rows[j] : Infinity;
      const row = Math.min(nextA, nextB);
      if (nextA === row) i++;
      if (nextB === row) j++;
      const inside = keeps((i & 1) === 1, (j & 1) === 1);
      if (inside && since < 0) since = row;
      if (!inside && since >= 0) {
        builder.run(since, row);
        since = -1;
      }
    }
  }
  return builder.build();
}

/** Where a column's run ends lie in `rows`; both are even, so that parity tells in from out. */
function bounds(region: Region, x: number): [number, number] {
  const column = x - region.left;
  if (column < 0 || column >= columnCount(region)) return [0, 0];
  return [2 * region.start[column], 2 * region.start[column + 1]];
}

export function union(regions: readonly Region[]): Region {
  if (regions.length === 0) return EMPTY;
  // In pairs, then pairs of pairs: each pixel is copied as often as the number has digits.
  let level = [...regions];
  while (level.length > 1) {
    const next: Region[] = [];
    for (let i = 0; i < level.length; i += 2) {
      next.push(i + 1 < level.length ? combine(level[i], level[i + 1], "union") : level[i]);
    }
    level = next;
  }
  return level[0];
}

/** The pixels within `radius` of the segment between two points, inside a photo. */
export function capsule(
  from: { x: number; y: number },
  to: { x: number; y: number },
  radius: number,
  size: { width: number; height: number },
): Region {
  const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - radius));
  const right = Math.min(size.width, Math.ceil(Math.max(from.x, to.x) + radius) + 1);
  const builder = new RegionBuilder(left);
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = Math.hypot(dx, dy);
  for (let column = left; column < right; column++) {
    builder.column();
    const x = column + 0.5;
    let top = Infinity;
    let bottom = -Infinity;
    for (const end of [from, to]) {
      const reach = radius * radius - (x - end.x) ** 2;
      if (reach < 0) continue;
      top = Math.min(top, end.y - Math.sqrt(reach));
      bottom = Math.max(bottom, end.y + Math.sqrt(reach));
    }
    if (length > 0) {
      // The straight sides: where the column meets the strip between the two caps.
      const edges: number[] = [];
      for (const side of [-1, 1]) {
        const offsetX = (-dy / length) * radius * side;
        const offsetY = (dx / length) * radius * side;
        if (dx !== 0) {
          const t = (x - from.x - offsetX) / dx;
          if (t >= 0 && t <= 1) edges.push(from.y + offsetY + t * dy);
        }
      }
      for (const y of edges) {
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
      }
    }
    const first = Math.max(0, Math.ceil(top - 0.5));
    const last = Math.min(size.height, Math.floor(bottom - 0.5) + 1);
    builder.run(first, last);
  }
  return builder.build();
}

/** A filled rectangle. */
export function rectangle(box: Box): Region {
  const builder = new RegionBuilder(box.x0);
  for (let x = box.x0; x < box.x1; x++) {
    builder.column();
    builder.run(box.y0, box.y1);
  }
  return builder.build();
}
