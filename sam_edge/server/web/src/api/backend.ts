/** What the page needs of whoever keeps its photos and runs its model: a server, or this browser. */
import type { Engine } from "../engine/engine";
import type { RouteTimes } from "../engine/protocol";
import type {
  Annotations,
  EmbeddingInfo,
  EverythingMask,
  GrounderInfo,
  ModelInfo,
  PhotoInfo,
  PhotoList,
  WireObject,
  WordMask,
  WorkEvent,
} from "./types";

export interface Change {
  readonly base_version: number;
  readonly set: readonly WireObject[];
  readonly remove: readonly string[];
  readonly done: boolean;
}

/** Names are those of `POST /v1/export`. */
export type Format = "png" | "mask" | "coco" | "labelme" | "sa1b" | "svg" | "yolo";

export interface ExportWish {
  readonly format: Format;
  readonly photos: readonly string[] | "all";
  readonly tolerance?: number;
}

export interface Download {
  readonly name: string;
  readonly data: Blob;
}

/** Finding objects that nobody pointed at. */
export interface Search {
  everything(
    body: Readonly<Record<string, unknown>>,
    onEvent: (event: WorkEvent) => void,
    signal: AbortSignal,
  ): Promise<readonly EverythingMask[]>;
  words(
    body: { photo: string; phrases: readonly string[] },
    signal: AbortSignal,
  ): Promise<readonly WordMask[]>;
}

/** What fails does so with an `ApiError`. */
export interface Backend {
  /** Null where nothing can look through a whole photo. */
  readonly search: Search | null;
  readonly formats: readonly Format[];

  models(): Promise<{ models: readonly ModelInfo[]; grounder: GrounderInfo | null }>;

  /** What turns prompts into masks; asked for once. */
  engine(model: ModelInfo): Engine;

  /** Where masks come from, and how fast, for people. */
  about(routes: RouteTimes | null): string;

  photos(): Promise<PhotoList>;
  photo(id: string): Promise<PhotoInfo>;
  upload(file: File): Promise<PhotoInfo>;
  picture(id: string, signal?: AbortSignal): Promise<Blob>;
  thumbnail(id: string): Promise<Blob>;

  encode(
    body: { photo: string; part?: readonly number[] },
    onEvent: (event: WorkEvent) => void,
    signal?: AbortSignal,
  ): Promise<{ embedding: EmbeddingInfo }>;
  encodeAhead(photo: string): Promise<void>;

  annotations(photo: string): Promise<Annotations>;
  /** Fails with `conflict` if somebody saved since `base_version`. */
  save(photo: string, change: Change): Promise<{ version: number }>;
  export(wish: ExportWish): Promise<Download>;
}
