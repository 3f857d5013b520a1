/** `sam-edge serve` behind the page: everything is asked of it by HTTP, as `docs/http.md` says. */
import { Engine, threads } from "../engine/engine";
import type { Route, RouteTimes } from "../engine/protocol";
import type { Backend, Change, Download, ExportWish, Format, Search } from "./backend";
import { type Connection, type Options, request } from "./client";
import { ApiError, isAbort } from "./errors";
import type {
  Annotations,
  EmbeddingInfo,
  EverythingMask,
  GrounderInfo,
  ModelInfo,
  PhotoInfo,
  PhotoList,
  WordMask,
  WorkEvent,
} from "./types";

/** For measuring (benchmarks/techniques/page.py): one way only, on as many threads. */
export interface Wish {
  readonly route: Route | null;
  readonly threads: number | null;
}

export class ServerBackend implements Backend {
  readonly formats: readonly Format[] = ["png", "mask", "coco", "labelme", "sa1b", "svg", "yolo"];

  constructor(
    private readonly to: Connection,
    private readonly wish: Wish,
  ) {}

  readonly search: Search = {
    everything: async (body, onEvent, signal) =>
      (await follow(this.to, "v1/everything", body, onEvent, signal))["masks"] as EverythingMask[],
    words: async (body, signal) =>
      (await follow(this.to, "v1/text", body, () => undefined, signal))["masks"] as WordMask[],
  };

  models(): Promise<{ models: readonly ModelInfo[]; grounder: GrounderInfo | null }> {
    return json(this.to, "v1/models");
  }

  engine(model: ModelInfo): Engine {
    const { route, threads: wished } = this.wish;
    return new Engine({ kind: "server", connection: this.to, threads: threads(wished), route }, model);
  }

  about(routes: RouteTimes | null): string {
    if (!routes) return "from the server.";
    const ms = (value: number | null): string => (value === null ? "not measured" : `${value.toFixed(0)} ms`);
    const count = `${routes.threads} thread${routes.threads > 1 ? "s" : ""}`;
    const page = routes.problem ?? `${ms(routes.page)} with ${count}`;
    return `from the ${routes.chosen}. Server: ${ms(routes.server)}; in this page: ${page}.`;
  }

  photos(): Promise<PhotoList> {
    return json(this.to, "v1/photos");
  }

  photo(id: string): Promise<PhotoInfo> {
    return json(this.to, `v1/photos/${id}`);
  }

  upload(file: File): Promise<PhotoInfo> {
    return json(this.to, `v1/photos?name=${encodeURIComponent(file.name)}`, { body: file });
  }

  async picture(id: string, signal?: AbortSignal): Promise<Blob> {
    return (await request(this.to, `v1/photos/${id}/image`, { signal })).blob();
  }

  async thumbnail(id: string): Promise<Blob> {
    return (await request(this.to, `v1/photos/${id}/thumbnail?side=128`)).blob();
  }

  async encode(
    body: { photo: string; part?: readonly number[] },
    onEvent: (event: WorkEvent) => void,
    signal?: AbortSignal,
  ): Promise<{ embedding: EmbeddingInfo }> {
    return (await follow(this.to, "v1/encode", body, onEvent, signal)) as never;
  }

  async encodeAhead(photo: string): Promise<void> {
    await request(this.to, "v1/encode", { json: { photo, ahead: true } });
  }

  annotations(photo: string): Promise<Annotations> {
    return json(this.to, `v1/photos/${photo}/annotations`);
  }

  save(photo: string, change: Change): Promise<{ version: number }> {
    return json(this.to, `v1/photos/${photo}/annotations`, { method: "PATCH", json: change, keepalive: true });
  }

  async export(wish: ExportWish): Promise<Download> {
    const response = await request(this.to, "v1/export", { json: wish });
    const name = fileName(response.headers.get("Content-Disposition")) ?? `masks.${wish.format}`;
    return { name, data: await response.blob() };
  }
}

function fileName(disposition: string | null): string | null {
  const coded = disposition?.match(/filename\*=UTF-8''([^;]+)/i);
  if (coded) return decodeURIComponent(coded[1]);
  return disposition?.match(/filename="([^"]+)"/)?.[1] ?? null;
}

async function json<T>(connection: Connection, path: string, options?: Options): Promise<T> {
  return (await (await request(connection, path, options)).json()) as T;
}

/** Follow long work as it happens; returns what `done` says. */
async function follow(
  connection: Connection,
  path: string,
  body: unknown,
  onEvent: (event: WorkEvent) => void,
  signal?: AbortSignal,
): Promise<Record<string, unknown>> {
  const accept = "application/x-ndjson";
  const response = await request(connection, path, { json: body, accept, signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let result: Record<string, unknown> | null = null;
  for (;;) {
    let chunk: ReadableStreamReadResult<string>;
    try {
      chunk = await reader.read();
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new ApiError(0, "unreachable", "the connection to the server broke off", 0, {});
    }
    rest += chunk.value ?? "";
    const lines = rest.split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.trim()) continue;
      const event = JSON.parse(line) as WorkEvent;
      if (event.event === "error") {
        throw new ApiError(event.status, event.error.code, event.error.message, 0, event.error);
      }
      if (event.event === "done") result = event;
      else onEvent(event);
    }
    if (!chunk.done) continue;
    if (result) return result; // read to the end: a stream that is dropped looks cut off
    throw new ApiError(0, "unreachable", "the server stopped in the middle", 0, {});
  }
}
