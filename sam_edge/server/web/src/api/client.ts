/** Requests to the server that the page came from, and to no other. Works in workers, too. */
import { ApiError, isAbort } from "./errors";

export interface Connection {
  /** Where the page lies; the API is `v1/` beside it. */
  readonly base: string;
  readonly token: string | null;
  /** Tells this page from others: its newer hover takes the place of its older one. */
  readonly client: string;
}

export interface Options {
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
