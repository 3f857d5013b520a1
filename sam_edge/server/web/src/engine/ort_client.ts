/** Asks the worker that holds onnxruntime-web. */
import { ApiError } from "../api/errors";
import type { FromOrt, OrtAnswers, OrtRequest } from "./ort_worker";

export function ortWorker(): Worker {
  return new Worker(new URL("./ort_worker.ts", import.meta.url), { type: "module" });
}

export class OrtClient {
  private next = 0;
  private readonly waiting = new Map<
    number,
    { resolve: (answer: never) => void; reject: (error: Error) => void }
  >();

  /** @param to the worker, or a port to it that it was given with `port`. */
  constructor(private readonly to: Worker | MessagePort) {
    to.onmessage = ({ data }: MessageEvent<FromOrt>) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if ("error" in data) waiting?.reject(new ApiError(0, data.code, data.error));
      else waiting?.resolve(data.answer as never);
    };
    if (to instanceof MessagePort) return;
    to.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message));
      this.waiting.clear();
    };
  }

  ask<Request extends OrtRequest>(
    request: Request,
    transfer: Transferable[] = [],
  ): Promise<OrtAnswers[Request["kind"]]> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.to.postMessage({ id, request }, transfer);
    });
  }
}
