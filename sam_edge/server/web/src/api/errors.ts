/** What can go wrong where photos are kept and encoded, whether that is a server or this browser. */

/** A refusal; status 0 is no answer at all. Codes and statuses are those of `docs/http.md`. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs = 0,
    readonly body: Readonly<Record<string, unknown>> = {},
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
