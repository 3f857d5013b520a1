/** What hangs together in a mask: its pieces, its holes, and cutting it apart. */
import {
  EMPTY,
  type Region,
  RegionBuilder,
  area,
  boxOf,
  capsule,
  columnCount,
  combine,
  isEmpty,
  rectangle,
  union,
} from "./region";

/** Part a region into connected pieces, the largest first; pixels that touch at a corner connect. */
export function components(region: Region): Region[] {
  const { rows, start, left } = region;
  const parent = Int32Array.from({ length: rows.length / 2 }, (_, index) => index);
  const root = (run: number): number => {
    while (parent[run] !== run) {
      parent[run] = parent[parent[run]];
      run = parent[run];
    }
    return run;
  };
  for (let column = 1; column < columnCount(region); column++) {
    let before = start[column - 1];
    for (let run = start[column]; run < start[column + 1]; run++) {
      while (before < start[column] && rows[2 * before + 1] < rows[2 * run]) before++;
      for (let k = before; k < start[column] && rows[2 * k] <= rows[2 * run + 1]; k++) {
        parent[root(k)] = root(run);
      }
    }
  }
  const builders = new Map<number, { builder: RegionBuilder; next: number }>();
  for (let column = 0; column < columnCount(region); column++) {
    for (let run = start[column]; run < start[column + 1]; run++) {
      const key = root(run);
      let piece = builders.get(key);
      if (!piece) {
        piece = { builder: new RegionBuilder(left + column), next: column };
        builders.set(key, piece);
      }
      for (; piece.next <= column; piece.next++) piece.builder.column();
      piece.builder.run(rows[2 * run], rows[2 * run + 1]);
    }
  }
  return [...builders.values()]
    .map((piece) => piece.builder.build())
    .map((piece) => ({ piece, size: area(piece) }))
    .sort((a, b) => b.size - a.size)
    .map(({ piece }) => piece);
}

/** Fill holes and drop specks of fewer than `smallest` pixels; the largest piece always stays. */
export function tidied(region: Region, smallest: number): Region {
  const box = boxOf(region);
  if (!box) return region;
  const pieces = components(region);
  const kept = union(pieces.filter((piece, index) => index === 0 || area(piece) >= smallest));
  const frame = { x0: box.x0 - 1, y0: box.y0 - 1, x1: box.x1 + 1, y1: box.y1 + 1 };
  const outside = combine(rectangle(frame), kept, "difference");
  const holes = components(outside).filter((piece) => {
    const its = boxOf(piece);
    return its && its.x0 > frame.x0 && area(piece) < smallest;
  });
  return union([kept, ...holes]);
}

/** Cut a region along a line; the pieces share the line's own pixels out to the nearest of them. */
export function cut(
  region: Region,
  line: readonly { x: number; y: number }[],
  size: { width: number; height: number },
): Region[] {
  let blade = EMPTY;
  for (let i = 1; i < line.length; i++) {
    blade = combine(blade, capsule(line[i - 1], line[i], 1, size), "union");
  }
  const pieces = components(combine(region, blade, "difference"));
  if (pieces.length < 2) return pieces.length ? [region] : [];
  // The blade is a few pixels wide: grow each piece into it until nothing is left.
  let left = combine(region, blade, "intersection");
  for (let round = 0; round < 4 && !isEmpty(left); round++) {
    for (let i = 0; i < pieces.length; i++) {
      const gained = combine(grown(pieces[i]), left, "intersection");
      pieces[i] = combine(pieces[i], gained, "union");
      left = combine(left, gained, "difference");
    }
  }
  pieces[0] = combine(pieces[0], left, "union");
  return pieces;
}

/** The region and every pixel beside it. */
function grown(region: Region): Region {
  const up: Region = { ...region, rows: region.rows.map((row, i) => (i & 1 ? row + 1 : row - 1)) };
  const tall = combine(up, EMPTY, "union");
  const sides = [-1, 1].map((step) => ({ ...tall, left: tall.left + step }));
  return combine(mergedRuns(tall), combine(mergedRuns(sides[0]), mergedRuns(sides[1]), "union"), "union");
}

/** Join runs of a column that overlap after they were stretched. */
function mergedRuns(region: Region): Region {
  const builder = new RegionBuilder(region.left);
  for (let column = 0; column < columnCount(region); column++) {
    builder.column();
    for (let j = region.start[column]; j < region.start[column + 1]; j++) {
      builder.run(region.rows[2 * j], region.rows[2 * j + 1]);
    }
  }
  return builder.build();
}
