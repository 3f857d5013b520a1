/**
 * The page's own decoder: onnxruntime-web on our decoder graph. A worker of its own, because
 * opening the graph and each run block it.
 */
import * as ort from "onnxruntime-web/wasm";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

export type OrtRequest =
  | { kind: "open"; graph: ArrayBuffer; lowRes: number; threads: number }
  | { kind: "features"; tensors: Record<string, { shape: readonly number[]; data: Float32Array }> }
  | { kind: "decode"; coords: Float32Array; labels: Float32Array };

export type OrtAnswer = { logits: Float32Array; scores: Float32Array };

let session: ort.InferenceSession | null = null;
let features: Record<string, ort.Tensor> = {};
let noMask: Record<string, ort.Tensor> = {};

async function handle(request: OrtRequest): Promise<OrtAnswer | null> {
  if (request.kind === "open") {
    ort.env.wasm.wasmPaths = {
      mjs: new URL(mjs, self.location.href),
      wasm: new URL(wasm, self.location.href),
    };
    ort.env.wasm.numThreads = request.threads;
    session = await ort.InferenceSession.create(request.graph, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
    });
    const side = request.lowRes;
    noMask = {
      mask_input: new ort.Tensor("float32", new Float32Array(side * side), [1, 1, side, side]),
      has_mask_input: new ort.Tensor("float32", new Float32Array(1), [1]),
    };
    return null;
  }
  if (request.kind === "features") {
    features = Object.fromEntries(
      Object.entries(request.tensors).map(([name, { shape, data }]) => [
        name,
        new ort.Tensor("float32", data, shape),
      ]),
    );
    return null;
  }
  const count = request.labels.length;
  const answer = await session!.run({
    ...features,
    ...noMask,
    point_coords: new ort.Tensor("float32", request.coords, [1, count, 2]),
    point_labels: new ort.Tensor("float32", request.labels, [1, count]),
  });
  return {
    logits: answer["low_res_masks"].data as Float32Array,
    scores: answer["iou_predictions"].data as Float32Array,
  };
}

self.onmessage = async (message: MessageEvent<{ id: number; request: OrtRequest }>) => {
  const { id, request } = message.data;
  try {
    const answer = await handle(request);
    const logits = answer?.logits.slice();
    self.postMessage(
      { id, answer: answer && { logits, scores: answer.scores.slice() } },
      logits ? { transfer: [logits.buffer] } : {},
    );
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
};
