/** Files that lie packed where they are fetched from, whoever serves them. */
import { ApiError } from "./errors";

/**
 * Fetch a `.gz` file and unpack it. Some hosts mark such files as packed on their way only, and then
 * the browser has unpacked them already.
 */
export async function unpacked(url: URL): Promise<ArrayBuffer> {
  const failed = (why: string): ApiError => new ApiError(0, "unreachable", `${url.pathname}: ${why}; load the page again`);
  const response = await fetch(url).catch(() => {
    throw failed("it cannot be fetched");
  });
  if (!response.ok) throw failed(`the answer was ${response.status} ${response.statusText}`);
  const data = await response.arrayBuffer();
  const [first, second] = new Uint8Array(data, 0, Math.min(2, data.byteLength));
  if (first !== 0x1f || second !== 0x8b) return data;
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
