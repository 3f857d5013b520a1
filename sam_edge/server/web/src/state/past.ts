/** Undo and redo outlive the page: the last steps of each photo, in the browser's own storage. */
import type { WireObject } from "../api/types";
import type { Size } from "../mask/rle";
import { Database, answer } from "./database";
import { type Doc, type Item, toWire } from "./document";
import type { History } from "./history";
import { inTurns } from "./turns";

/** Steps back, and as many forth. */
const MOST_STEPS = 50;
/** Of the masks of all steps together: copying them must not be felt. */
const MOST_BYTES = 4_000_000;
/** Photos; the one that was changed longest ago goes first. */
const MOST_PHOTOS = 20;

interface Kept {
  readonly at: number;
  readonly history: History<Doc>;
}

const database = new Database("sam-edge past", ["past"]);

/** Keep the steps that led to what is saved. */
export async function keepPast(photo: string, history: History<Doc>): Promise<void> {
  const bounded = within(history, MOST_STEPS, MOST_BYTES);
  if (!bounded) return;
  await run("readwrite", async (store) => {
    await answer(store.put({ at: Date.now(), history: bounded } satisfies Kept, photo));
    const keys = (await answer(store.getAllKeys())) as string[];
    if (keys.length <= MOST_PHOTOS) return;
    const all = (await answer(store.getAll())) as Kept[];
    const oldest = keys.map((key, index) => ({ key, at: all[index].at })).sort((a, b) => a.at - b.at);
    for (const { key } of oldest.slice(0, keys.length - MOST_PHOTOS)) await answer(store.delete(key));
  });
}

/** The steps next to the present that fit; null if not even the present does. */
export function within(history: History<Doc>, steps: number, bytes: number): History<Doc> | null {
  const counted = new Set<Item>();
  let left = bytes;
  // Most steps share all objects but one with the step before.
  const fits = ({ items }: Doc): boolean => {
    for (const item of items) {
      if (counted.has(item)) continue;
      counted.add(item);
      for (const { rows, start } of [item.region, ...item.candidates.map(({ region }) => region)]) {
        left -= rows.byteLength + start.byteLength;
      }
    }
    return left >= 0;
  };
  if (!fits(history.present)) return null;
  const past: Doc[] = [];
  for (const doc of history.past.slice(-steps).reverse()) {
    if (!fits(doc)) break;
    past.unshift(doc);
  }
  const future: Doc[] = [];
  for (const doc of history.future.slice(0, steps)) {
    if (!fits(doc)) break;
    future.push(doc);
  }
  return { past, present: history.present, future };
}

/** The steps that led to these objects; null if somebody else has changed them since. */
export async function keptPast(
  photo: string,
  objects: readonly WireObject[],
  size: Size,
): Promise<History<Doc> | null> {
  const kept = (await run("readonly", (store) => answer(store.get(photo)))) as Kept | undefined;
  const items = kept?.history.present.items;
  if (!items || items.length !== objects.length) return null;
  const same = await inTurns([...items.entries()], ([index, item]) => isSaved(item, objects[index], size));
  return same.every(Boolean) ? kept.history : null;
}

function isSaved(item: Item, object: WireObject, size: Size): boolean {
  const { id, label, rle, extra } = toWire(item, size);
  return (
    id === object.id && label === object.label && rle.counts === object.rle.counts && extra["done"] === object.extra["done"]
  );
}

async function run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => Promise<T>): Promise<T | undefined> {
  try {
    return await database.run(mode, ([store]) => work(store));
  } catch {
    return undefined; // a private window may forbid it, or it is full: undo then ends with the page
  }
}
