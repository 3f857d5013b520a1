/** What `docs/http.md` says of requests and answers. */
import type { CocoRle } from "../mask/rle";

export type Pair = readonly [number, number];
export type Corners = readonly [number, number, number, number];

/** How a photo becomes the encoder's input. */
export interface ImageSpec {
  readonly size: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  readonly resize: "longest_side" | "stretch";
  readonly frame: "square" | "photo";
}

export interface ModelInfo {
  readonly id: string;
  readonly variant: string;
  readonly precision: string;
  readonly engine: string;
  readonly image: ImageSpec;
  readonly low_res_size: number;
  readonly embeddings: readonly { name: string; channels: number; stride: number }[];
  readonly masks: { single: number; candidates: readonly number[]; threshold: number };
  readonly everything: Readonly<Record<string, number>>;
  readonly source: { random: boolean; sha256: string };
  readonly decoder: { url: string; bytes: number; sha256: string } | null;
  readonly notes: readonly string[];
}

/** What finds words, where the server was started with one. */
export interface GrounderInfo {
  readonly variant: string;
  readonly source: { random: boolean };
}

export interface PhotoInfo {
  readonly id: string;
  readonly name: string;
  readonly folder: string;
  readonly upload: boolean;
  readonly size: Pair | null;
  readonly objects: number;
  readonly done: boolean;
  readonly version: number;
  readonly imported: string | null;
}

export interface PhotoList {
  readonly photos: readonly PhotoInfo[];
  readonly labels: readonly { name: string; count: number }[];
  readonly folders: readonly string[];
}

export interface EmbeddingInfo {
  readonly id: string;
  readonly photo_size: Pair;
  readonly part: Corners;
  readonly size: Pair;
  readonly input_size: Pair;
  readonly image_size: number;
}

export interface WirePrompt {
  readonly points: readonly Pair[];
  readonly labels: readonly number[];
  readonly box: Corners | null;
  readonly part: Corners | null;
}

export interface WireObject {
  readonly id: string;
  readonly label: string;
  readonly rle: CocoRle;
  readonly score: number | null;
  readonly stability: number | null;
  readonly prompt: WirePrompt | null;
  readonly extra: Readonly<Record<string, unknown>>;
}

export interface Annotations {
  readonly version: number;
  readonly done: boolean;
  readonly photo: { name: string; size: Pair };
  readonly imported: { format: string; file: string } | null;
  readonly objects: readonly WireObject[];
}

export interface RleMask {
  readonly rle: CocoRle;
  readonly score: number;
  readonly area: number;
  readonly box: Corners;
}

export interface RleAnswer {
  readonly masks: readonly RleMask[];
  readonly best: number;
  readonly candidates: readonly number[];
  readonly decode_ms: number;
}

export interface EverythingMask extends RleMask {
  readonly stability: number;
  readonly point: Pair;
}

export interface WordMask extends RleMask {
  readonly label: string;
  readonly box_score: number;
  readonly prompt: Corners;
  readonly stability: number;
}

export type WorkEvent =
  | { event: "queued"; position: number }
  | { event: "reading" }
  | { event: "encoding"; expected_ms: number | null }
  | { event: "found"; boxes: number }
  | { event: "progress"; done: number; total: number }
  | { event: "error"; status: number; error: { code: string; message: string } }
  | ({ event: "done" } & Record<string, unknown>);
