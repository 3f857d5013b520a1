/** Requests to the server that the page came from, and to no other. Works in workers, too. */
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

export interface Connection {
  /** Where the page lies; the API is `v1/` beside it. */
  readonly base: string;
  readonly token: string | null;
  /** Tells this page from others: its newer hover takes the place of its older one. */
  readonly client: string;
}

/** A refusal by the server, or (status 0) no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs: number,
    readonly body: Readonly<Record<string, unknown>>,
  ) {
    super(message);
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** What went wrong, in one line. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Options {
  method?: string;
  json?: unknown;
  body?: BodyInit;
  accept?: string;
  signal?: AbortSignal | undefined;
  /** Outlive the page, if it is small enough. */
  keepalive?: boolean;
}

/** Browsers let requests outlive their page only up to 64 kB. */
const KEEPALIVE_BYTES = 60_000;

export async function request(
  connection: Connection,
  path: string,
  options: Options = {},
): Promise<Response> {
  const headers: Record<string, string> = { "X-Client": connection.client };
  if (connection.token) headers["Authorization"] = `Bearer ${connection.token}`;
  if (options.accept) headers["Accept"] = options.accept;
  let body = options.body;
  if (options.json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(options.json);
  } else if (body !== undefined) {
    headers["Content-Type"] = "application/octet-stream";
  }
  let response: Response;
  try {
    response = await fetch(new URL(path.replace(/^\//, ""), connection.base), {
      method: options.method ?? (body === undefined ? "GET" : "POST"),
      headers,
      ...(body === undefined ? {} : { body }),
      signal: options.signal ?? null,
      keepalive: options.keepalive === true && typeof body === "string" && body.length < KEEPALIVE_BYTES,
      credentials: "omit",
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(0, "unreachable", "the server does not answer; is it still running?", 0, {});
  }
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    body = ((await response.json()) as { error: Record<string, unknown> }).error ?? {};
  } catch {
    // no JSON: a proxy's page, or a connection that was cut
  }
  const seconds = Number(response.headers.get("Retry-After") ?? 0);
  return new ApiError(
    response.status,
    String(body["code"] ?? "failed"),
    String(body["message"] ?? `the server answered ${response.status} ${response.statusText}`),
    1000 * (Number.isFinite(seconds) ? seconds : 0),
    body,
  );
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

/** A tensor of a binary answer, and the JSON that came with it. */
export interface Frame {
  readonly head: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, { shape: readonly number[]; data: Float32Array }>>;
}

export function readFrame(buffer: ArrayBuffer): Frame {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))) as {
    tensors: { name: string; dtype: string; shape: number[]; offset: number; bytes: number }[];
  };
  const tensors: Record<string, { shape: number[]; data: Float32Array }> = {};
  for (const { name, dtype, shape, offset, bytes } of head.tensors) {
    const at = 4 + length + offset;
    const data =
      dtype === "float16"
        ? fromHalf(new Uint16Array(buffer, at, bytes / 2))
        : new Float32Array(buffer, at, bytes / 4);
    tensors[name] = { shape, data };
  }
  return { head, tensors };
}

let halves: Float32Array | null = null;

/** float16 to float32 by table: half a million values a millisecond, in every browser. */
export function fromHalf(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, value) => {
    const sign = value & 0x8000 ? -1 : 1;
    const exponent = (value >> 10) & 31;
    const fraction = value & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return exponent ? sign * 2 ** (exponent - 25) * (1024 + fraction) : sign * 2 ** -24 * fraction;
  });
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) result[i] = halves[bits[i]];
  return result;
}

export const api = {
  models: (to: Connection): Promise<{ models: readonly ModelInfo[]; grounder: GrounderInfo | null }> =>
    json(to, "v1/models"),

  photos: (to: Connection): Promise<PhotoList> => json(to, "v1/photos"),

  photo: (to: Connection, id: string): Promise<PhotoInfo> => json(to, `v1/photos/${id}`),

  upload: (to: Connection, file: File): Promise<PhotoInfo> =>
    json(to, `v1/photos?name=${encodeURIComponent(file.name)}`, { body: file }),

  picture: async (to: Connection, id: string, signal?: AbortSignal): Promise<Blob> =>
    (await request(to, `v1/photos/${id}/image`, { signal })).blob(),

  thumbnail: async (to: Connection, id: string): Promise<Blob> =>
    (await request(to, `v1/photos/${id}/thumbnail?side=128`)).blob(),

  encode: async (
    to: Connection,
    body: { photo: string; part?: readonly number[] },
    onEvent: (event: WorkEvent) => void,
    signal?: AbortSignal,
  ): Promise<{ embedding: EmbeddingInfo; photo: PhotoInfo; encode_ms: number }> =>
    (await follow(to, "v1/encode", body, onEvent, signal)) as never,

  encodeAhead: async (to: Connection, photo: string): Promise<void> => {
    await request(to, "v1/encode", { json: { photo, ahead: true } });
  },

  everything: async (
    to: Connection,
    body: Readonly<Record<string, unknown>>,
    onEvent: (event: WorkEvent) => void,
    signal: AbortSignal,
  ): Promise<readonly EverythingMask[]> =>
    (await follow(to, "v1/everything", body, onEvent, signal))["masks"] as EverythingMask[],

  words: async (
    to: Connection,
    body: { photo: string; phrases: readonly string[] },
    signal: AbortSignal,
  ): Promise<readonly WordMask[]> =>
    (await follow(to, "v1/text", body, () => undefined, signal))["masks"] as WordMask[],

  annotations: (to: Connection, photo: string): Promise<Annotations> =>
    json(to, `v1/photos/${photo}/annotations`),

  save: (
    to: Connection,
    photo: string,
    change: { base_version: number; set: readonly WireObject[]; remove: readonly string[]; done: boolean },
  ): Promise<{ version: number }> =>
    json(to, `v1/photos/${photo}/annotations`, { method: "PATCH", json: change, keepalive: true }),

  export: (to: Connection, body: Readonly<Record<string, unknown>>): Promise<Response> =>
    request(to, "v1/export", { json: body }),
};
