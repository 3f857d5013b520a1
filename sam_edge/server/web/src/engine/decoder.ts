/** What turns a question into masks, and what its implementations share. */
import type { EmbeddingInfo, ModelInfo } from "../api/types";
import { type Region, isEmpty } from "../mask/region";
import { upsample } from "../mask/upsample";
import type { OrtAnswer } from "./own_decoder";
import type { Question } from "./prompt";
import type { Answer, Candidate } from "./protocol";

/** Runs after which WebAssembly is as fast as it gets. */
export const WARM_UP = 20;
export const TRIALS = 5;

export interface Decoder {
  /**
   * Get ready for a photo.
   *
   * @param idle waits until nobody hovers; false once the photo is not shown any more.
   */
  prepare(to: EmbeddingInfo, idle: () => Promise<boolean>): Promise<void>;

  /** One mask for a preview, at `scale` times the photo's size. */
  hover(question: Question, to: EmbeddingInfo, scale: number, signal: AbortSignal): Promise<Answer>;

  /** The masks of a prompt that is kept, at photo size; `multimask` as in `Engine.keep`. */
  keep(question: Question, multimask: boolean | null, to: EmbeddingInfo): Promise<Answer>;
}

/** A click in the middle, to measure with. */
export function trial({ part: [x0, y0, x1, y1] }: EmbeddingInfo): Question {
  return { points: [[(x0 + x1) / 2, (y0 + y1) / 2]], labels: [1], box: null, mask: null };
}

/** The masks that are asked for, of all that our own decoder answers. */
export function candidatesOf(
  { logits, scores }: OrtAnswer,
  model: ModelInfo,
  to: EmbeddingInfo,
  scale: number,
  { three, onlyBest }: { three: boolean; onlyBest: boolean },
): Candidate[] {
  let outputs = three ? [...model.masks.candidates] : [model.masks.single];
  if (onlyBest) outputs = [outputs.reduce((best, at) => (scores[at] > scores[best] ? at : best))];
  const size = model.low_res_size ** 2;
  return outputs.map((output) => ({
    region: placed(logits.subarray(output * size, (output + 1) * size), model, to, scale),
    score: scores[output],
    output,
  }));
}

export function bestOf(candidates: readonly Candidate[]): number {
  return candidates.reduce((best, { score }, at) => (score > candidates[best].score ? at : best), 0);
}

/** Upsample a mask to `scale` times its part of the photo, and put it where that part lies. */
export function placed(logits: Float32Array, model: ModelInfo, to: EmbeddingInfo, scale: number): Region {
  const [height, width] = to.size.map((side) => Math.max(1, Math.round(side * scale)));
  const frame = { imageSize: to.image_size, inputSize: to.input_size };
  const region = upsample(logits, model.low_res_size, frame, [height, width], model.masks.threshold);
  const left = Math.round(to.part[0] * scale);
  const top = Math.round(to.part[1] * scale);
  if ((!left && !top) || isEmpty(region)) return region;
  return {
    left: region.left + left,
    start: region.start,
    rows: region.rows.map((row) => row + top),
  };
}
