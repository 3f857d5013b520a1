/** Decodes in the page, where there is no server: onnxruntime-web has encoded the photo as well. */
import type { EmbeddingInfo, ModelInfo } from "../api/types";
import { type Decoder, TRIALS, WARM_UP, bestOf, candidatesOf, trial } from "./decoder";
import { maskInput } from "./mask_input";
import { OrtClient } from "./ort_client";
import { type Question, isLonePoint, sparse } from "./prompt";
import type { Answer, RouteTimes, Source } from "./protocol";

export class PageAlone implements Decoder {
  private readonly ort: OrtClient;
  private readonly threads: number;
  private measured = false;

  constructor(
    source: Extract<Source, { kind: "page" }>,
    private readonly model: ModelInfo,
    private readonly tell: (times: RouteTimes) => void,
  ) {
    this.ort = new OrtClient(source.port);
    this.threads = source.threads;
  }

  async hover(question: Question, to: EmbeddingInfo, scale: number, signal: AbortSignal): Promise<Answer> {
    const wish = { three: isLonePoint(question), onlyBest: true };
    const answer = await this.decode(question, to, scale, wish);
    signal.throwIfAborted();
    return answer;
  }

  keep(question: Question, multimask: boolean | null, to: EmbeddingInfo): Promise<Answer> {
    const wish = { three: multimask ?? isLonePoint(question), onlyBest: false };
    return this.decode(question, to, 1, wish);
  }

  /** Warm up while nobody hovers. */
  async prepare(to: EmbeddingInfo, idle: () => Promise<boolean>): Promise<void> {
    if (this.measured) return;
    const question = trial(to);
    const took: number[] = [];
    for (let run = 0; run < WARM_UP + TRIALS; run++) {
      if (!(await idle())) return;
      const { ms } = await this.decode(question, to, 1, { three: true, onlyBest: true });
      if (run >= WARM_UP) took.push(ms);
    }
    this.measured = true;
    const page = took.sort((a, b) => a - b)[TRIALS >> 1];
    this.tell({ chosen: "page", server: null, page, threads: this.threads, problem: null });
  }

  private async decode(
    question: Question,
    to: EmbeddingInfo,
    scale: number,
    wish: { three: boolean; onlyBest: boolean },
  ): Promise<Answer> {
    const started = performance.now();
    const mask = question.mask && maskInput(question.mask, to, this.model.low_res_size);
    const prompt = { embedding: to.id, ...sparse(question, to), mask };
    const found = await this.ort.ask({ kind: "decode", ...prompt });
    const candidates = candidatesOf(found, this.model, to, scale, wish);
    const ms = performance.now() - started;
    return { candidates, best: bestOf(candidates), scale, route: "page", ms };
  }
}
