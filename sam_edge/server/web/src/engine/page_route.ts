/** Decoding in the page: asks the worker that holds onnxruntime-web. */
import { type Connection, type Frame, request } from "../api/client";
import type { EmbeddingInfo, ModelInfo } from "../api/types";
import type { OrtAnswer, OrtRequest } from "./ort_worker";
import { type Question, sparse } from "./prompt";

export class PageRoute {
  private worker: Worker | null = null;
  private next = 0;
  private readonly waiting = new Map<
    number,
    { resolve: (answer: OrtAnswer) => void; reject: (error: Error) => void }
  >();
  /** The embedding whose features the worker holds. */
  private holds: string | null = null;

  /** Fetch the decoder's graph and open it: seconds, in a worker of its own. */
  async open(connection: Connection, model: ModelInfo, threads: number): Promise<void> {
    if (!model.decoder) throw new Error("this model's decoder runs on the server only");
    const graph = await (await request(connection, model.decoder.url)).arrayBuffer();
    this.worker = new Worker(new URL("./ort_worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = (message) => {
      const { id, answer, error } = message.data as { id: number; answer: OrtAnswer; error?: string };
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error !== undefined) waiting?.reject(new Error(error));
      else waiting?.resolve(answer);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message));
      this.waiting.clear();
    };
    await this.ask({ kind: "open", graph, lowRes: model.low_res_size, threads }, [graph]);
  }

  async load(embedding: EmbeddingInfo, frame: Frame): Promise<void> {
    await this.ask({ kind: "features", tensors: frame.tensors });
    this.holds = embedding.id;
  }

  ready(embedding: EmbeddingInfo): boolean {
    return this.holds === embedding.id;
  }

  /** All four masks' logits and scores. */
  decode(question: Question, embedding: EmbeddingInfo): Promise<OrtAnswer> {
    return this.ask({ kind: "decode", ...sparse(question, embedding) });
  }

  private ask(request: OrtRequest, transfer: Transferable[] = []): Promise<OrtAnswer> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker!.postMessage({ id, request }, transfer);
    });
  }
}
