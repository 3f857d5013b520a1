/** Asks the server or the page's own decoder, whichever is the faster. */
import { type Connection, readFrame, request } from "../api/client";
import { ApiError, isAbort, reason } from "../api/errors";
import type { EmbeddingInfo, ModelInfo, RleAnswer } from "../api/types";
import { decodeCoco } from "../mask/rle";
import { type Decoder, TRIALS, WARM_UP, bestOf, candidatesOf, placed, trial } from "./decoder";
import { OrtClient, ortWorker } from "./ort_client";
import { type Question, isLonePoint, sparse } from "./prompt";
import type { Answer, Candidate, Route, RouteTimes, Source } from "./protocol";
import { RouteChoice } from "./route_choice";

export class TwoWays implements Decoder {
  private readonly connection: Connection;
  private readonly threads: number;
  private readonly routes = new RouteChoice();
  private opened: Promise<OrtClient> | null = null;
  private ort: OrtClient | null = null;
  /** The embedding whose features the page's own decoder has. */
  private holds: string | null = null;

  constructor(
    source: Extract<Source, { kind: "server" }>,
    private readonly model: ModelInfo,
    private readonly staleMs: number,
    private readonly tell: (times: RouteTimes) => void,
  ) {
    ({ connection: this.connection, threads: this.threads } = source);
    this.routes.force(source.route);
  }

  hover(question: Question, to: EmbeddingInfo, scale: number, signal: AbortSignal): Promise<Answer> {
    return this.preview(question, to, scale, signal, this.routes.choose(this.possible(question, to)));
  }

  private async preview(
    question: Question,
    to: EmbeddingInfo,
    scale: number,
    signal: AbortSignal,
    route: Route,
  ): Promise<Answer> {
    const started = performance.now();
    if (route === "page") {
      const three = isLonePoint(question);
      const candidates = await this.byPage(question, to, scale, { three, onlyBest: true });
      this.routes.took("page", performance.now() - started);
      return { candidates, best: 0, scale, route, ms: performance.now() - started };
    }
    try {
      const response = await request(this.connection, `v1/embeddings/${to.id}/decode`, {
        json: { ...wire(question), answer: "logits", dtype: "float16", only_best: true, hover: true },
        signal,
      });
      const { head, tensors } = readFrame(await response.arrayBuffer());
      const logits = tensors["low_res_logits"].data;
      const scores = head["scores"] as number[];
      const outputs = head["candidates"] as number[];
      const best = scores.length === 1 ? 0 : (head["best"] as number);
      const size = this.model.low_res_size ** 2;
      const mask = placed(logits.subarray(best * size, (best + 1) * size), this.model, to, scale);
      this.routes.took("server", performance.now() - started);
      return {
        candidates: [{ region: mask, score: scores[best], output: outputs[best] }],
        best: 0,
        scale,
        route,
        ms: performance.now() - started,
      };
    } catch (error) {
      if (error instanceof ApiError && [0, 429, 503].includes(error.status)) {
        this.routes.busy(error.retryAfterMs);
        this.tell(this.routes.times());
      } else if (isAbort(error) && performance.now() - started > this.staleMs) {
        this.routes.took("server", performance.now() - started);
      }
      throw error;
    }
  }

  /** The server's own masks, to the pixel, if it answers in time. */
  async keep(question: Question, multimask: boolean | null, to: EmbeddingInfo): Promise<Answer> {
    const started = performance.now();
    const possible = this.possible(question, to);
    const signal = possible ? AbortSignal.timeout(2000) : undefined;
    try {
      const response = await request(this.connection, `v1/embeddings/${to.id}/decode`, {
        json: { ...wire(question), multimask },
        signal,
      });
      const { masks, candidates, best } = (await response.json()) as RleAnswer;
      return {
        candidates: masks.map(({ rle, score }, index) => ({
          region: decodeCoco(rle),
          score,
          output: candidates[index],
        })),
        best,
        scale: 1,
        route: "server",
        ms: performance.now() - started,
      };
    } catch (error) {
      const refused = error instanceof ApiError && error.status > 0 && ![429, 503].includes(error.status);
      if (!possible || refused) throw error;
      const three = multimask ?? isLonePoint(question);
      const found = await this.byPage(question, to, 1, { three, onlyBest: false });
      const ms = performance.now() - started;
      return { candidates: found, best: bestOf(found), scale: 1, route: "page", ms };
    }
  }

  /** Open the page's own decoder while nobody hovers, and measure both ways. */
  async prepare(to: EmbeddingInfo, idle: () => Promise<boolean>): Promise<void> {
    if (!this.model.decoder) return;
    try {
      if (!(await idle())) return;
      this.opened ??= this.open(this.model.decoder.url);
      this.ort = await this.opened;
      const path = `v1/embeddings/${to.id}/features?dtype=float16`;
      const { tensors } = readFrame(await (await request(this.connection, path)).arrayBuffer());
      if (!(await idle())) return;
      await this.ort.ask({ kind: "features", embedding: to.id, tensors });
      this.holds = to.id;
      if (!this.routes.needsTrial()) return;
      const question = trial(to);
      for (let run = 0; run < WARM_UP; run++) {
        if (!(await idle())) return;
        await this.byPage(question, to, 1, { three: true, onlyBest: true });
      }
      for (const route of ["page", "server"] as Route[]) {
        for (let run = 0; run < TRIALS; run++) {
          if (!(await idle())) return;
          await this.preview(question, to, 1, new AbortController().signal, route);
        }
      }
      this.routes.settle(this.threads);
    } catch (error) {
      if (!isAbort(error)) this.routes.fail(reason(error));
    }
    this.tell(this.routes.times());
  }

  /** Fetch the decoder's graph and open it: seconds, in a worker of its own. */
  private async open(url: string): Promise<OrtClient> {
    const decoder = await (await request(this.connection, url)).arrayBuffer();
    const ort = new OrtClient(ortWorker());
    const { threads, model } = this;
    await ort.ask({ kind: "open", decoder, encoder: null, wasm: null, model, threads }, [decoder]);
    return ort;
  }

  private possible(question: Question, to: EmbeddingInfo): boolean {
    return this.holds === to.id && !question.mask;
  }

  private async byPage(
    question: Question,
    to: EmbeddingInfo,
    scale: number,
    wish: { three: boolean; onlyBest: boolean },
  ): Promise<Candidate[]> {
    const prompt = { embedding: to.id, ...sparse(question, to), mask: null };
    const answer = await this.ort!.ask({ kind: "decode", ...prompt });
    return candidatesOf(answer, this.model, to, scale, wish);
  }
}

function wire(question: Question): Record<string, unknown> {
  return {
    ...(question.points.length ? { points: question.points, labels: question.labels } : {}),
    ...(question.box ? { box: question.box } : {}),
    ...(question.mask ? { mask: { rle: question.mask } } : {}),
  };
}
