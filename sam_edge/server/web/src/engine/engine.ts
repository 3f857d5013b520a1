/** The engine's worker, seen from the main thread. */
import { ApiError } from "../api/errors";
import type { EmbeddingInfo, ModelInfo } from "../api/types";
import type { Question } from "./prompt";
import type { Answer, FromWorker, RouteTimes, Source, ToWorker } from "./protocol";

/** How many threads WebAssembly may have here: it needs shared memory for more than one. */
export function threads(wished: number | null = null): number {
  const cores = navigator.hardwareConcurrency || 2;
  return self.crossOriginIsolated ? (wished ?? Math.min(4, cores)) : 1;
}

export class Engine {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private next = 1;
  private newestHover = 0;
  private onHover: ((answer: Answer) => void) | null = null;
  private readonly kept = new Map<
    number,
    { resolve: (answer: Answer) => void; reject: (error: Error) => void }
  >();

  /** Called when the photo's embedding is gone from where it was kept. */
  onLost: () => void = () => {};
  onRoutes: (times: RouteTimes) => void = () => {};

  constructor(source: Source, model: ModelInfo) {
    this.worker.onmessage = (event: MessageEvent<FromWorker>) => this.receive(event.data);
    this.worker.onerror = (event) => {
      for (const { reject } of this.kept.values()) reject(new Error(`the page's worker stopped: ${event.message}`));
      this.kept.clear();
    };
    this.send({ kind: "open", source, model }, source.kind === "page" ? [source.port] : []);
  }

  /** Decode for this photo from now on; null while there is no embedding. */
  photo(embedding: EmbeddingInfo | null): void {
    this.send({ kind: "photo", embedding });
  }

  /** Ask for a preview; `draw` is called only if nothing newer was asked meanwhile. */
  hover(question: Question, scale: number, draw: (answer: Answer) => void): void {
    this.newestHover = this.next++;
    this.onHover = draw;
    this.send({ kind: "hover", id: this.newestHover, question, scale });
  }

  /** Forget previews that are on their way. */
  still(): void {
    this.onHover = null;
    this.newestHover = this.next++;
    this.send({ kind: "still", id: this.newestHover });
  }

  /**
   * The masks of a prompt at photo size.
   *
   * @param multimask null as `sam-edge segment` does: three for a lone point, one for all else.
   */
  keep(question: Question, multimask: boolean | null = null): Promise<Answer> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.kept.set(id, { resolve, reject });
      this.send({ kind: "keep", id, question, multimask });
    });
  }

  private send(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  private receive(message: FromWorker): void {
    if (message.kind === "hover") {
      // An answer that is not the newest still shows where the pointer was a moment ago: better
      // than nothing while the newest is under way, as long as they come in order.
      if (message.answer && this.onHover) this.onHover(message.answer);
    } else if (message.kind === "keep") {
      this.kept.get(message.id)?.resolve(message.answer);
      this.kept.delete(message.id);
    } else if (message.kind === "failed") {
      const { status, code, message: text } = message;
      this.kept.get(message.id)?.reject(new ApiError(status, code, text));
      this.kept.delete(message.id);
    } else if (message.kind === "routes") {
      this.onRoutes(message.times);
    } else {
      this.onLost();
    }
  }
}
