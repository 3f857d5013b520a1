/** COCO's run lengths: what files and the server hold. */
import { type Region, RegionBuilder, columnCount } from "./region";

export interface CocoRle {
  /** Height and width of the photo. */
  readonly size: readonly [number, number];
  readonly counts: string;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Run lengths down the columns of the whole photo, background first. */
export function toCounts(region: Region, size: Size): number[] {
  const counts: number[] = [];
  let done = 0;
  let open = -1;
  for (let column = 0; column < columnCount(region); column++) {
    const base = (region.left + column) * size.height;
    for (let j = region.start[column]; j < region.start[column + 1]; j++) {
      const from = base + region.rows[2 * j];
      const to = base + region.rows[2 * j + 1];
      if (open >= 0 && from === done) {
        counts[counts.length - 1] += to - from; // goes on at the top of the next column
      } else {
        counts.push(from - done, to - from);
      }
      open = from;
      done = to;
    }
  }
  const total = size.width * size.height;
  if (done < total || counts.length === 0) counts.push(total - done);
  return counts;
}

export function fromCounts(counts: readonly number[], size: Size): Region {
  const builder = new RegionBuilder(0);
  let column = -1;
  const upTo = (x: number): void => {
    for (; column < x; column++) builder.column();
  };
  let position = 0;
  for (let i = 0; i < counts.length; i++) {
    const end = position + counts[i];
    if (i & 1) {
      while (position < end) {
        const x = Math.floor(position / size.height);
        const stop = Math.min(end, (x + 1) * size.height);
        upTo(x);
        builder.run(position - x * size.height, stop - x * size.height);
        position = stop;
      }
    }
    position = end;
  }
  return builder.build();
}

/** As pycocotools spells it: from the fourth run on a difference, in groups of five bits. */
export function encodeCoco(region: Region, size: Size): CocoRle {
  const counts = toCounts(region, size);
  const codes: number[] = [];
  for (let i = 0; i < counts.length; i++) {
    let value = i > 2 ? counts[i] - counts[i - 2] : counts[i];
    for (;;) {
      let group = value & 0x1f;
      value >>= 5;
      const more = group & 0x10 ? value !== -1 : value !== 0;
      if (more) group |= 0x20;
      codes.push(group + 48);
      if (!more) break;
    }
  }
  return { size: [size.height, size.width], counts: ascii(codes) };
}

export function decodeCoco(rle: CocoRle): Region {
  const [height, width] = rle.size;
  const counts: number[] = [];
  let value = 0;
  let shift = 0;
  for (let i = 0; i < rle.counts.length; i++) {
    const group = rle.counts.charCodeAt(i) - 48;
    value |= (group & 0x1f) << shift;
    shift += 5;
    if (group & 0x20) continue;
    if (group & 0x10 && shift < 32) value |= -1 << shift;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
    value = 0;
    shift = 0;
  }
  return fromCounts(counts, { width, height });
}

function ascii(codes: readonly number[]): string {
  let text = "";
  for (let i = 0; i < codes.length; i += 8192) {
    text += String.fromCharCode(...codes.slice(i, i + 8192));
  }
  return text;
}
