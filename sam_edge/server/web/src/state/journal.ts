/** What is not saved yet, in the browser's own storage: it outlives the page and the browser. */
import type { WireObject } from "../api/types";

export interface Unsaved {
  readonly version: number;
  readonly done: boolean;
  readonly objects: readonly WireObject[];
}

const STORE = "unsaved";

let opening: Promise<IDBDatabase> | null = null;

function database(): Promise<IDBDatabase> {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("sam-edge", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function run<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T | undefined> {
  try {
    const store = (await database()).transaction(STORE, mode).objectStore(STORE);
    const request = work(store);
    return await new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  } catch {
    return undefined; // a private window may forbid it; saving to the server goes on all the same
  }
}

export async function keep(photo: string, unsaved: Unsaved): Promise<void> {
  await run("readwrite", (store) => store.put(unsaved, photo));
}

export async function forget(photo: string): Promise<void> {
  await run("readwrite", (store) => store.delete(photo));
}

export async function kept(photo: string): Promise<Unsaved | undefined> {
  return (await run("readonly", (store) => store.get(photo))) as Unsaved | undefined;
}
