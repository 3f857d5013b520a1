/** What is asked of the decoder, and how it is laid out for the graph. */
import type { Corners, EmbeddingInfo, Pair } from "../api/types";
import type { CocoRle } from "../mask/rle";

export interface Question {
  readonly points: readonly Pair[];
  readonly labels: readonly number[];
  readonly box: Corners | null;
  /** A mask to start from, as large as the photo. */
  readonly mask: CocoRle | null;
}

/** `sam-edge segment` takes the best of three for a lone point, and one answer for all else. */
export function isLonePoint(question: Question): boolean {
  return question.points.length === 1 && !question.box && !question.mask;
}

/** As `sam_edge.prompts.sparse_prompts`: points, then the box's corners or a padding point. */
export function sparse(
  question: Question,
  embedding: EmbeddingInfo,
): { coords: Float32Array; labels: Float32Array } {
  const [x0, y0, x1, y1] = embedding.part;
  const scaleX = embedding.input_size[1] / embedding.size[1];
  const scaleY = embedding.input_size[0] / embedding.size[0];
  const coords: number[] = [];
  const labels: number[] = [...question.labels];
  for (const [x, y] of question.points) coords.push((x - x0) * scaleX, (y - y0) * scaleY);
  if (question.box) {
    const [left, top, right, bottom] = question.box;
    coords.push((Math.max(left, x0) - x0) * scaleX, (Math.max(top, y0) - y0) * scaleY);
    coords.push((Math.min(right, x1) - x0) * scaleX, (Math.min(bottom, y1) - y0) * scaleY);
    labels.push(2, 3);
  } else if (coords.length) {
    coords.push(0, 0);
    labels.push(-1);
  }
  return { coords: Float32Array.from(coords), labels: Float32Array.from(labels) };
}
