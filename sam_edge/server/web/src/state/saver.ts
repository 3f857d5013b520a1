/**
 * Saves annotations as they are made. What could not be saved stays in the browser's own storage
 * and is tried again until it is; nothing is given up without a word.
 */
import type { Backend } from "../api/backend";
import { ApiError, reason } from "../api/errors";
import type { Size } from "../mask/rle";
import { type Item, toWire } from "./document";
import { forget, keep } from "./journal";

export type SaveState =
  | { kind: "saved" }
  | { kind: "saving" }
  | { kind: "unsaved"; why: string }
  | { kind: "conflict"; version: number };

interface Tracked {
  size: Size;
  version: number;
  /** As the server has them. */
  saved: readonly Item[];
  savedDone: boolean;
  items: readonly Item[];
  done: boolean;
  state: SaveState;
  /** What is on its way. */
  sending: readonly Item[] | null;
}

const PAUSE_MS = 250;
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];

export class Saver {
  private readonly photos = new Map<string, Tracked>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running: Promise<void> = Promise.resolve();
  private failures = 0;

  onState: (photo: string, state: SaveState) => void = () => {};
  onSaved: (photo: string, saved: { version: number; objects: number; done: boolean }) => void =
    () => {};

  constructor(private readonly backend: Pick<Backend, "save">) {
    addEventListener("online", () => this.soon(0));
  }

  /** Start from what the server has. */
  track(photo: string, size: Size, version: number, saved: readonly Item[], done: boolean): void {
    const state: SaveState = { kind: "saved" };
    this.photos.set(photo, { size, version, saved, savedDone: done, items: saved, done, state, sending: null });
    this.tell(photo, state);
  }

  change(photo: string, items: readonly Item[], done: boolean): void {
    const tracked = this.photos.get(photo);
    if (!tracked || (tracked.items === items && tracked.done === done)) return;
    tracked.items = items;
    tracked.done = done;
    if (tracked.state.kind === "conflict") {
      void this.remember(photo, tracked);
      return;
    }
    if (!dirty(tracked)) return;
    if (tracked.state.kind === "unsaved") void this.remember(photo, tracked);
    else this.tell(photo, { kind: "saving" });
    this.soon(PAUSE_MS);
  }

  /** Whether something is not on the server yet. */
  get unsaved(): boolean {
    return [...this.photos.values()].some((tracked) => dirty(tracked));
  }

  state(photo: string): SaveState {
    return this.photos.get(photo)?.state ?? { kind: "saved" };
  }

  /** What the server has of a photo, as far as this page knows. */
  base(photo: string): readonly Item[] {
    return this.photos.get(photo)?.saved ?? [];
  }

  /** Save now, before something else is shown. */
  async flush(): Promise<void> {
    clearTimeout(this.timer);
    this.running = this.running.then(() => this.saveAll());
    await this.running;
  }

  /** The page goes away: send what is left, whether or not the answer can still be heard. */
  leave(): void {
    clearTimeout(this.timer);
    for (const [photo, tracked] of this.photos) {
      if (!dirty(tracked) || tracked.state.kind === "conflict" || tracked.items === tracked.sending) continue;
      const { sending, version, saved } = tracked;
      // Of what is on its way the server will have made the next version.
      const from = sending ? { version: version + 1, saved: sending } : { version, saved };
      void this.send(photo, tracked, from);
    }
  }

  private soon(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.flush(), ms);
  }

  private async saveAll(): Promise<void> {
    for (const [photo, tracked] of this.photos) {
      if (dirty(tracked) && tracked.state.kind !== "conflict") await this.send(photo, tracked);
    }
  }

  private async send(
    photo: string,
    tracked: Tracked,
    from: { version: number; saved: readonly Item[] } = tracked,
  ): Promise<void> {
    const { items, done, size } = tracked;
    const before = new Set(from.saved);
    const ids = new Set(items.map(({ id }) => id));
    const change = {
      base_version: from.version,
      set: items.filter((item) => !before.has(item)).map((item) => toWire(item, size)),
      remove: from.saved.filter(({ id }) => !ids.has(id)).map(({ id }) => id),
      done,
    };
    tracked.sending = items;
    try {
      const { version } = await this.backend.save(photo, change);
      Object.assign(tracked, { version, saved: items, savedDone: done });
      this.failures = 0;
      await forget(photo);
      this.onSaved(photo, { version, objects: items.length, done });
      if (dirty(tracked)) this.soon(PAUSE_MS);
      else this.tell(photo, { kind: "saved" });
    } catch (error) {
      await this.remember(photo, tracked);
      if (error instanceof ApiError && error.code === "conflict") {
        this.tell(photo, { kind: "conflict", version: Number(error.body["version"]) });
        return;
      }
      this.tell(photo, { kind: "unsaved", why: reason(error) });
      this.soon(RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]);
    } finally {
      if (tracked.sending === items) tracked.sending = null;
    }
  }

  private async remember(photo: string, { size, version, items, done }: Tracked): Promise<void> {
    await keep(photo, { version, done, objects: items.map((item) => toWire(item, size)) });
  }

  private tell(photo: string, state: SaveState): void {
    const tracked = this.photos.get(photo);
    if (tracked) tracked.state = state;
    this.onState(photo, state);
  }
}

function dirty(tracked: Tracked): boolean {
  return tracked.items !== tracked.saved || tracked.done !== tracked.savedDone;
}

/**
 * Bring together what two pages made of one photo: every object that either made or changed is
 * there; of one that both changed, both are.
 */
export function reconciled(
  base: readonly Item[],
  mine: readonly Item[],
  theirs: readonly Item[],
  copyOf: (item: Item) => Item,
): Item[] {
  const baseById = new Map(base.map((item) => [item.id, item]));
  const mineById = new Map(mine.map((item) => [item.id, item]));
  const theirsById = new Map(theirs.map((item) => [item.id, item]));
  const result: Item[] = [];
  for (const item of theirs) {
    const [was, my] = [baseById.get(item.id), mineById.get(item.id)];
    const iTouched = my !== was;
    const theyTouched = !was || !same(was, item);
    if (my && same(my, item)) {
      result.push(item);
      continue;
    }
    if (!iTouched || theyTouched) result.push(item); // also what I removed and they changed
    if (iTouched && my) result.push(theyTouched ? copyOf(my) : my);
  }
  for (const item of mine) {
    const was = baseById.get(item.id);
    if (!theirsById.has(item.id) && was !== item) result.push(item); // new, or they removed it
  }
  return result;
}

function same(a: Item, b: Item): boolean {
  const { rows } = a.region;
  return (
    a.label === b.label &&
    a.done === b.done &&
    a.region.left === b.region.left &&
    rows.length === b.region.rows.length &&
    rows.every((row, index) => row === b.region.rows[index])
  );
}
