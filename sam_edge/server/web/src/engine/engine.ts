/** The engine's worker, seen from the main thread. */
import { ApiError, type Connection } from "../api/client";
import type { EmbeddingInfo, ModelInfo } from "../api/types";
import type { Question } from "./prompt";
import type { Answer, FromWorker, Route, RouteTimes, ToWorker } from "./protocol";

export class Engine {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private next = 1;
  private newestHover = 0;
  private onHover: ((answer: Answer) => void) | null = null;
  private readonly kept = new Map<
    number,
    { resolve: (answer: Answer) => void; reject: (error: Error) => void }
  >();

  /** Called when the server has let go of the photo's embedding. */
  onLost: () => void = () => {};
  onRoutes: (times: RouteTimes) => void = () => {};

  constructor(connection: Connection, model: ModelInfo, wished: number | null = null) {
    this.worker.onmessage = (event: MessageEvent<FromWorker>) => this.receive(event.data);
    this.worker.onerror = (event) => {
      for (const { reject } of this.kept.values()) reject(new Error(`the page's worker stopped: ${event.message}`));
      this.kept.clear();
    };
    const cores = navigator.hardwareConcurrency || 2;
    const threads = self.crossOriginIsolated ? (wished ?? Math.min(4, cores)) : 1;
    this.send({ kind: "open", connection, model, threads });
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

  /** Take one way whatever the times say; for measuring. */
  force(route: Route | null): void {
    this.send({ kind: "force", route });
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message);
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
      this.kept.get(message.id)?.reject(new ApiError(status, code, text, 0, {}));
      this.kept.delete(message.id);
    } else if (message.kind === "routes") {
      this.onRoutes(message.times);
    } else {
      this.onLost();
    }
  }
}
