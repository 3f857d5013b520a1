/**
 * Our graphs on onnxruntime-web. A worker of its own, because opening a graph and each run block it.
 * It does one thing after the other, in the order they were asked.
 */
import * as ort from "onnxruntime-web/wasm";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { ApiError, reason } from "../api/errors";
import type { Corners, EmbeddingInfo, ModelInfo } from "../api/types";
import { encoderInput } from "./encoder_input";
import { type OrtAnswer, OwnDecoder } from "./own_decoder";
import { ThreadWorker } from "./thread_worker";

export type OrtRequest =
  | {
      kind: "open";
      decoder: ArrayBuffer;
      encoder: ArrayBuffer | null;
      /** The WebAssembly; null to fetch it beside this worker, as the server sends it. */
      wasm: ArrayBuffer | null;
      model: ModelInfo;
      threads: number;
    }
  | {
      kind: "features";
      embedding: string;
      tensors: Readonly<Record<string, { shape: readonly number[]; data: Float32Array }>>;
    }
  | { kind: "encode"; embedding: string; photo: Blob; part: Corners | null }
  | {
      kind: "decode";
      embedding: string;
      coords: Float32Array;
      labels: Float32Array;
      /** The low-resolution logits to start from. */
      mask: Float32Array | null;
    }
  | { kind: "port"; port: MessagePort };

export interface OrtAnswers {
  open: null;
  features: null;
  encode: EmbeddingInfo;
  decode: OrtAnswer;
  port: null;
}

export type FromOrt =
  | { readonly id: number; readonly answer: OrtAnswers[keyof OrtAnswers] }
  | { readonly id: number; readonly error: string; readonly code: string };

self.Worker = ThreadWorker; // what onnxruntime-web starts its threads with

let model: ModelInfo;
let decoder: OwnDecoder | null = null;
let encoder: ort.InferenceSession | null = null;
let held: string | null = null;

async function open(request: Extract<OrtRequest, { kind: "open" }>): Promise<null> {
  model = request.model;
  ort.env.wasm.wasmPaths = {
    mjs: new URL(mjs, self.location.href),
    wasm: new URL(wasm, self.location.href),
  };
  if (request.wasm) ort.env.wasm.wasmBinary = request.wasm;
  ort.env.wasm.numThreads = request.threads;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" } as const;
  decoder = await OwnDecoder.open(new Uint8Array(request.decoder), model.low_res_size, options);
  if (request.encoder) encoder = await ort.InferenceSession.create(request.encoder, options);
  return null;
}

async function encode({ embedding, photo, part }: Extract<OrtRequest, { kind: "encode" }>): Promise<EmbeddingInfo> {
  const { pixels, shape, ...sizes } = await encoderInput(photo, part, model.image);
  const name = encoder!.inputNames[0];
  held = null;
  await decoder!.look(await encoder!.run({ [name]: new ort.Tensor("float32", pixels, shape) }));
  held = embedding;
  return { id: embedding, image_size: model.image.size, ...sizes };
}

async function decode(request: Extract<OrtRequest, { kind: "decode" }>): Promise<OrtAnswer> {
  if (held !== request.embedding) {
    throw new ApiError(404, "no_embedding", "another photo was encoded meanwhile");
  }
  return decoder!.decode(request.coords, request.labels, request.mask);
}

async function handle(request: OrtRequest): Promise<OrtAnswers[OrtRequest["kind"]]> {
  switch (request.kind) {
    case "open":
      return open(request);
    case "features": {
      const features = Object.entries(request.tensors).map(
        ([name, { shape, data }]) => [name, new ort.Tensor("float32", data, shape)] as const,
      );
      held = null;
      await decoder!.look(Object.fromEntries(features));
      held = request.embedding;
      return null;
    }
    case "encode":
      return encode(request);
    case "decode":
      return decode(request);
    case "port":
      listen(request.port);
      return null;
  }
}

let queue: Promise<void> = Promise.resolve();

function listen(to: { onmessage: unknown; postMessage: (message: FromOrt, options: object) => void }): void {
  to.onmessage = ({ data: { id, request } }: MessageEvent<{ id: number; request: OrtRequest }>): void => {
    queue = queue.then(async () => {
      try {
        const answer = await handle(request);
        const transfer = answer && "logits" in answer ? [answer.logits.buffer, answer.scores.buffer] : [];
        to.postMessage({ id, answer }, { transfer });
      } catch (error) {
        const code = error instanceof ApiError ? error.code : "failed";
        to.postMessage({ id, error: reason(error), code }, {});
      }
    });
  };
}

listen(self as never);
