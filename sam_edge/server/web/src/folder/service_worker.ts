/**
 * Keeps the files of the folder, answers from them, and adds the headers that give the page shared
 * memory, which a static host may not let anybody set.
 */

/** What `sam-edge web-bundle` writes before this code: another folder is another script. */
interface Folder {
  readonly version: string;
  /** Path and bytes of each file; "./" is the page. */
  readonly files: Readonly<Record<string, number>>;
}

export interface Progress {
  readonly done: number;
  readonly total: number;
}

interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

interface Worker {
  readonly FOLDER: Folder;
  readonly registration: { readonly scope: string };
  readonly clients: {
    matchAll(options: { includeUncontrolled: boolean }): Promise<readonly { postMessage(message: Progress): void }[]>;
  };
  addEventListener(kind: "install" | "activate", listen: (event: ExtendableEvent) => void): void;
  addEventListener(kind: "fetch", listen: (event: FetchEvent) => void): void;
}

const worker = self as unknown as Worker;
const { version, files } = worker.FOLDER;
const { scope } = worker.registration;
/** Caches are the whole site's, which may hold other folders. */
const mine = `sam-edge ${new URL(scope).pathname} `;
const current = mine + version;

worker.addEventListener("install", (event) => event.waitUntil(keepAll()));
worker.addEventListener("activate", (event) => event.waitUntil(dropOthers()));
worker.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(scope)) event.respondWith(answer(event.request));
});

async function keepAll(): Promise<void> {
  const cache = await caches.open(current);
  const pages = await worker.clients.matchAll({ includeUncontrolled: true });
  const total = Object.values(files).reduce((sum, bytes) => sum + bytes, 0);
  let done = 0;
  const counted = (): TransformStream<Uint8Array, Uint8Array> =>
    new TransformStream({
      transform(chunk, to) {
        done += chunk.length;
        for (const page of pages) page.postMessage({ done, total });
        to.enqueue(chunk);
      },
    });
  const keep = async (path: string): Promise<void> => {
    // Not what the browser still has of an older folder at this address.
    const response = await fetch(new URL(path, scope), { cache: "reload" });
    if (!response.ok || !response.body) throw new Error(`${path}: ${response.status}`);
    const { headers } = response;
    await cache.put(new URL(path, scope), new Response(response.body.pipeThrough(counted()), { headers }));
  };
  await Promise.all(Object.keys(files).map(keep));
}

async function dropOthers(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(mine) && name !== current).map((name) => caches.delete(name)));
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(current);
  const kept = (url: string): Promise<Response | undefined> =>
    cache.match(url, { ignoreSearch: true, ignoreVary: true });
  const page = request.mode === "navigate"; // also by the names that hosts give to the page
  const found = (await kept(request.url)) ?? (page ? await kept(scope) : undefined) ?? (await fetch(request));
  const headers = new Headers(found.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const { status, statusText } = found;
  return new Response(found.body, { status, statusText, headers });
}
