/** What the page and the engine's worker say to each other. */
import type { Connection } from "../api/client";
import type { EmbeddingInfo, ModelInfo } from "../api/types";
import type { Region } from "../mask/region";
import type { Question } from "./prompt";

/** One mask that the decoder gives, in pixels of `scale` times the photo. */
export interface Candidate {
  readonly region: Region;
  readonly score: number;
  /** Of the decoder's four: 0 is the single answer, 1 to 3 are the candidates. */
  readonly output: number;
}

export interface Answer {
  readonly candidates: readonly Candidate[];
  readonly best: number;
  readonly scale: number;
  readonly route: Route;
  /** From the request to the mask, in milliseconds. */
  readonly ms: number;
}

export type Route = "server" | "page";

export interface RouteTimes {
  readonly chosen: Route;
  /** Medians in milliseconds; null if not measured, or not possible. */
  readonly server: number | null;
  readonly page: number | null;
  readonly threads: number;
  readonly problem: string | null;
}

/** Who decodes: the server and the page, whichever is faster, or the page alone. */
export type Source =
  | {
      readonly kind: "server";
      readonly connection: Connection;
      readonly threads: number;
      /** Take one way whatever the times say; for measuring. */
      readonly route: Route | null;
    }
  | {
      readonly kind: "page";
      /** To the worker that holds onnxruntime-web and encodes there. */
      readonly port: MessagePort;
      readonly threads: number;
    };

export type ToWorker =
  | { kind: "open"; source: Source; model: ModelInfo }
  | { kind: "photo"; embedding: EmbeddingInfo | null }
  | { kind: "hover"; id: number; question: Question; scale: number }
  | { kind: "keep"; id: number; question: Question; multimask: boolean | null }
  | { kind: "still"; id: number };

export type FromWorker =
  | { kind: "hover"; id: number; answer: Answer | null }
  | { kind: "keep"; id: number; answer: Answer }
  | { kind: "failed"; id: number; status: number; code: string; message: string }
  | { kind: "routes"; times: RouteTimes }
  | { kind: "lost" };
