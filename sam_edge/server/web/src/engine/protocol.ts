/** What the page and the engine's worker say to each other. */
import type { Connection } from "../api/client";
import type { EmbeddingInfo, ModelInfo, Pair } from "../api/types";
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

export type ToWorker =
  | { kind: "open"; connection: Connection; model: ModelInfo; threads: number }
  | { kind: "photo"; embedding: EmbeddingInfo | null }
  | { kind: "hover"; id: number; question: Question; scale: number }
  | { kind: "keep"; id: number; question: Question; multimask: boolean | null }
  | { kind: "still"; id: number }
  | { kind: "force"; route: Route | null };

export type FromWorker =
  | { kind: "hover"; id: number; answer: Answer | null }
  | { kind: "keep"; id: number; answer: Answer }
  | { kind: "failed"; id: number; status: number; code: string; message: string }
  | { kind: "routes"; times: RouteTimes }
  | { kind: "lost" };

export type { Pair };
