/** No server at all: a folder of files, from which the page encodes, decodes, keeps and exports by itself. */
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { Backend, Change, Download, ExportWish, Format } from "../api/backend";
import { ApiError } from "../api/errors";
import type {
  Annotations,
  Corners,
  EmbeddingInfo,
  GrounderInfo,
  ModelInfo,
  PhotoInfo,
  PhotoList,
  WorkEvent,
} from "../api/types";
import { unpacked } from "../api/unpacked";
import { Engine, threads } from "../engine/engine";
import { OrtClient, ortWorker } from "../engine/ort_client";
import type { RouteTimes } from "../engine/protocol";
import { exported } from "./export";
import { Library } from "./library";

/** What `sam-edge web-bundle` writes as `model.json`. */
interface FolderModel extends ModelInfo {
  readonly graphs: { readonly image_encoder: string; readonly prompt_encoder_mask_decoder: string };
}

const THUMBNAIL = 128;

export class FolderBackend implements Backend {
  readonly search = null;
  readonly formats: readonly Format[] = ["png", "mask", "coco"];
  private readonly library: Library;
  private readonly ort = new OrtClient(ortWorker());
  private opened: Promise<unknown> = Promise.resolve();
  private encoding: Promise<unknown> = Promise.resolve();
  private lastMs: number | null = null;

  /** @param base where the folder lies. */
  constructor(private readonly base: string) {
    this.library = new Library(`sam-edge ${new URL(base).pathname}`);
  }

  async models(): Promise<{ models: readonly ModelInfo[]; grounder: GrounderInfo | null }> {
    const response = await fetch(new URL("model.json", this.base)).catch(() => null);
    if (!response?.ok) throw new ApiError(0, "unreachable", "model.json cannot be fetched; load the page again");
    const model = (await response.json()) as FolderModel;
    this.opened = this.open(model);
    this.opened.catch(() => undefined); // reported by the first encode
    return { models: [model], grounder: null };
  }

  engine(model: ModelInfo): Engine {
    const { port1, port2 } = new MessageChannel();
    void this.ort.ask({ kind: "port", port: port2 }, [port2]);
    return new Engine({ kind: "page", port: port1, threads: threads() }, model);
  }

  about(routes: RouteTimes | null): string {
    const count = `${threads()} thread${threads() > 1 ? "s" : ""}`;
    const ms = routes?.page ? `: ${routes.page.toFixed(0)} ms` : "";
    return `in this page, with ${count}${ms}. Photos and objects stay in this browser.`;
  }

  photos(): Promise<PhotoList> {
    return this.library.list();
  }

  photo(id: string): Promise<PhotoInfo> {
    return this.library.photo(id);
  }

  async upload(file: File): Promise<PhotoInfo> {
    // Browsers clear away what nobody asked them to keep.
    void navigator.storage?.persist?.();
    return this.library.add(file);
  }

  picture(id: string): Promise<Blob> {
    return this.library.file(id);
  }

  async thumbnail(id: string): Promise<Blob> {
    const bitmap = await createImageBitmap(await this.library.file(id));
    const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d")!.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    return canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
  }

  async encode(
    { photo, part }: { photo: string; part?: readonly number[] },
    onEvent: (event: WorkEvent) => void,
    signal?: AbortSignal,
  ): Promise<{ embedding: EmbeddingInfo }> {
    const mine = this.encoding.then(async () => {
      signal?.throwIfAborted(); // the page has moved on while others were encoded
      await this.opened;
      onEvent({ event: "encoding", expected_ms: this.lastMs });
      const corners = part ? (part as unknown as Corners) : null;
      const started = performance.now();
      const request = { embedding: `${photo} ${part ?? ""}`, photo: await this.library.file(photo), part: corners };
      const embedding = await this.ort.ask({ kind: "encode", ...request });
      this.lastMs = performance.now() - started;
      return { embedding };
    });
    this.encoding = mine.catch(() => undefined);
    return mine;
  }

  /** Nothing: the one worker that could is the one that masks wait for. */
  async encodeAhead(): Promise<void> {}

  annotations(photo: string): Promise<Annotations> {
    return this.library.annotations(photo);
  }

  save(photo: string, change: Change): Promise<{ version: number }> {
    return this.library.save(photo, change);
  }

  async export({ format, photos }: ExportWish): Promise<Download> {
    const touched = async (): Promise<readonly string[]> =>
      (await this.library.list()).photos.filter(({ version }) => version > 0).map(({ id }) => id);
    const ids = photos === "all" ? await touched() : photos;
    return exported(format, await Promise.all(ids.map((id) => this.library.annotations(id))));
  }

  private async open(model: FolderModel): Promise<void> {
    const { image_encoder, prompt_encoder_mask_decoder } = model.graphs;
    const [encoder, decoder, binary] = await Promise.all([
      unpacked(new URL(image_encoder, this.base)),
      unpacked(new URL(prompt_encoder_mask_decoder, this.base)),
      unpacked(new URL(`${wasm}.gz`, import.meta.url)),
    ]);
    const request = { encoder, decoder, wasm: binary, model, threads: threads() };
    await this.ort.ask({ kind: "open", ...request }, [encoder, decoder, binary]);
  }
}
