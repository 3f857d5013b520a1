/** What is not saved yet, in the browser's own storage: it outlives the page and the browser. */
import type { WireObject } from "../api/types";
import { Database, answer } from "./database";

export interface Unsaved {
  readonly version: number;
  readonly done: boolean;
  readonly objects: readonly WireObject[];
}

const database = new Database("sam-edge", ["unsaved"]);

async function run<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T | undefined> {
  try {
    return await database.run(mode, ([store]) => answer(work(store)));
  } catch {
    return undefined; // a private window may forbid it; saving goes on all the same
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
