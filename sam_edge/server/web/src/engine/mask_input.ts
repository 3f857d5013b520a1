/** A mask to start from as the decoder takes it: `sam_edge.prompts.mask_logits`. */
import type { EmbeddingInfo } from "../api/types";
import { type Region, columnCount } from "../mask/region";
import { type CocoRle, decodeCoco } from "../mask/rle";

/** What SAM takes for "surely", as `MASK_PROMPT_LOGIT` there. */
const SURELY = 10;

let last: { counts: string; embedding: string; logits: Float32Array } | null = null;

/** @param side of the decoder's mask logits. */
export function maskInput(mask: CocoRle, to: EmbeddingInfo, side: number): Float32Array {
  if (last?.counts === mask.counts && last.embedding === to.id) return last.logits;
  const frame = inFrame(decodeCoco(mask), to);
  const cell = to.image_size / side;
  const logits = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let sum = 0;
      for (let row = y * cell; row < (y + 1) * cell; row++) {
        for (let column = x * cell; column < (x + 1) * cell; column++) sum += frame[row * to.image_size + column];
      }
      logits[y * side + x] = (2 * Math.fround(sum / (cell * cell)) - 1) * SURELY;
    }
  }
  last = { counts: mask.counts, embedding: to.id, logits };
  return logits;
}

/** Each pixel of the encoder's frame: how much of it is foreground, as Pillow's BOX has it. */
function inFrame(region: Region, { part, size, input_size, image_size }: EmbeddingInfo): Float32Array {
  const [x0, y0] = part;
  const [height, width] = input_size;
  const down = boxes(size[0], height);
  const across = boxes(size[1], width);
  const frame = new Float32Array(image_size * image_size);
  const above = new Int32Array(size[0] + 1);
  for (let x = 0; x < width; x++) {
    const share = 1 / (across.end[x] - across.start[x]);
    for (let pixel = across.start[x]; pixel < across.end[x]; pixel++) {
      const column = x0 + pixel - region.left;
      if (column < 0 || column >= columnCount(region)) continue;
      countAbove(region, column, y0, above);
      for (let y = 0; y < height; y++) {
        const [from, to] = [down.start[y], down.end[y]];
        frame[y * image_size + x] += (share * (above[to] - above[from])) / (to - from);
      }
    }
  }
  return frame;
}

/** How many foreground pixels a column of the region has above each row of the part. */
function countAbove(region: Region, column: number, top: number, above: Int32Array): void {
  const rows = above.length - 1;
  let done = 0;
  let count = 0;
  for (let j = region.start[column]; j < region.start[column + 1]; j++) {
    const from = Math.min(rows, Math.max(0, region.rows[2 * j] - top));
    const to = Math.min(rows, Math.max(0, region.rows[2 * j + 1] - top));
    for (; done < from; done++) above[done] = count;
    for (; done < to; done++) above[done] = count++;
  }
  for (; done <= rows; done++) above[done] = count;
}

/** The source pixels whose mean a pixel is: those whose centres lie in it, half-open. */
function boxes(source: number, target: number): { start: Int32Array; end: Int32Array } {
  const scale = source / target;
  const wide = Math.max(scale, 1);
  const start = new Int32Array(target);
  const end = new Int32Array(target);
  for (let pixel = 0; pixel < target; pixel++) {
    const centre = (pixel + 0.5) * scale;
    const inside = (at: number): boolean => {
      const away = (at - centre + 0.5) * (1 / wide);
      return away > -0.5 && away <= 0.5;
    };
    let low = Math.max(0, Math.trunc(centre - wide / 2 + 0.5));
    let high = Math.min(source, Math.trunc(centre + wide / 2 + 0.5));
    while (low < high - 1 && !inside(low)) low++;
    while (high > low + 1 && !inside(high - 1)) high--;
    start[pixel] = low;
    end[pixel] = high;
  }
  return { start, end };
}
