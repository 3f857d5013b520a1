/** Opening photos: picture, annotations and embedding come side by side, and the next one is encoded ahead. */
import type { App } from "../app";
import { isAbort, reason } from "../api/errors";
import type { Annotations, EmbeddingInfo, PhotoInfo, WorkEvent } from "../api/types";
import { type Doc, type Item, EMPTY_DOC, fromWire, newId } from "../state/document";
import { type History, pushed, replaced, started } from "../state/history";
import { kept } from "../state/journal";
import { keptPast } from "../state/past";
import { reconciled } from "../state/saver";
import { inTurns } from "../state/turns";
import * as everything from "./everything";

/** How long another photo waits for the last one's work to be saved; then it is kept here. */
const FLUSH_MS = 3000;

let opening = new AbortController();
let shown: string | null = null;

/** Read which photos there are. */
export async function refresh(app: App): Promise<readonly PhotoInfo[]> {
  const { photos, labels } = await app.backend.photos();
  app.store.set({ photos, labels: [...new Set([...app.state.labels, ...labels.map(({ name }) => name)])] });
  return photos;
}

/** The same once this page's own work is saved; what cannot be asked now is shown as it was. */
export async function current(app: App): Promise<void> {
  await app.saver.flush();
  await refresh(app).catch(() => undefined);
}

export async function upload(app: App, files: readonly File[]): Promise<void> {
  let first: PhotoInfo | null = null;
  for (const [index, file] of files.entries()) {
    if (files.length > 1) app.tell(`Adding ${index + 1} of ${files.length}: ${file.name}`);
    try {
      const photo = await app.backend.upload(file);
      first ??= photo;
    } catch (error) {
      app.tell(`${file.name}: ${reason(error)}`, "error");
    }
  }
  await refresh(app);
  if (first) await open(app, first.id);
}

export async function open(app: App, id: string): Promise<void> {
  opening.abort();
  const controller = (opening = new AbortController());
  const { signal } = controller;
  // What is on its way to the server comes back with what it has.
  const flushed = Promise.race([app.saver.flush(), new Promise((done) => setTimeout(done, FLUSH_MS))]);
  everything.close(app);
  app.engine.photo(null);
  app.stage.clear();
  app.store.set({
    photo: app.state.photos.find((photo) => photo.id === id) ?? null,
    embedding: null,
    history: started(EMPTY_DOC),
    marked: new Set(),
    save: { kind: "saved" },
  });
  try {
    const encoding = encode(app, id, null, signal);
    encoding.catch(() => undefined); // reported below, once the picture is there
    const [photo, annotations] = await Promise.all([
      app.backend.photo(id),
      flushed.then(() => app.backend.annotations(id)),
      showPicture(app, id, signal),
    ]);
    if (signal.aborted) return;
    remember(id);
    app.store.set({ photo });
    await take(app, id, annotations, signal);
    decodeWith(app, await encoding); // not before: a click must find the objects that are there
    await getAhead(app);
  } catch (error) {
    if (!isAbort(error) && !signal.aborted) {
      app.store.set({ phase: { kind: "failed", why: reason(error) } });
    }
  }
}

async function showPicture(app: App, id: string, signal: AbortSignal): Promise<void> {
  const ready = ahead.id === id ? await ahead.picture : null;
  const url = URL.createObjectURL(ready ?? (await app.backend.picture(id, signal)));
  const probe = new Image();
  probe.src = url;
  await probe.decode();
  if (signal.aborted) return URL.revokeObjectURL(url);
  if (shown) URL.revokeObjectURL(shown);
  shown = url;
  await app.stage.show(url, { width: probe.naturalWidth, height: probe.naturalHeight });
}

/** Encode the photo, or a part of it, saying how it goes. */
async function encode(
  app: App,
  id: string,
  part: readonly number[] | null,
  signal: AbortSignal,
): Promise<EmbeddingInfo> {
  const since = performance.now();
  app.store.set({ phase: { kind: "encoding", since, expectedMs: null, queued: 0 } });
  const onEvent = (event: WorkEvent): void => {
    if (signal.aborted) return;
    const expectedMs = event.event === "encoding" ? event.expected_ms : null;
    const queued = event.event === "queued" ? event.position : 0;
    app.store.set({ phase: { kind: "encoding", since, expectedMs, queued } });
  };
  const body = part ? { photo: id, part } : { photo: id };
  const { embedding } = await app.backend.encode(body, onEvent, signal);
  signal.throwIfAborted();
  return embedding;
}

function decodeWith(app: App, embedding: EmbeddingInfo): void {
  app.engine.photo(embedding);
  app.store.set({ embedding, phase: { kind: "ready" } });
}

/** Encode the part of the photo that is in the window, for small things; or all of it again. */
export async function encodePart(app: App): Promise<void> {
  const { photo, embedding } = app.state;
  if (!photo || !embedding) return;
  const part = app.stage.visiblePart;
  if (!part && isWhole(embedding)) return app.tell("Zoom in on something small first.");
  app.engine.photo(null);
  app.focus(null);
  try {
    decodeWith(app, await encode(app, photo.id, part, opening.signal));
    app.tell(part ? "Small things in view can be told apart now." : "The whole photo again.");
  } catch (error) {
    if (!isAbort(error)) app.store.set({ phase: { kind: "failed", why: reason(error) } });
  }
}

export function isWhole({ part, photo_size: [height, width] }: EmbeddingInfo): boolean {
  return String(part) === String([0, 0, width, height]);
}

let again: Promise<void> | null = null;

/** The server has let go of the embedding, or was started anew: encode again, without a word. */
export function encodeAgain(app: App): Promise<void> {
  const { photo, embedding } = app.state;
  if (!photo || !embedding) return Promise.resolve();
  again ??= encode(app, photo.id, isWhole(embedding) ? null : embedding.part, opening.signal)
    .then((fresh) => decodeWith(app, fresh))
    .catch((error: unknown) => {
      if (!isAbort(error)) app.store.set({ phase: { kind: "failed", why: reason(error) } });
    })
    .finally(() => (again = null));
  return again;
}

/** Show what was saved, and on top of it what the last page could not save. */
async function take(app: App, id: string, annotations: Annotations, signal: AbortSignal): Promise<void> {
  const [height, width] = annotations.photo.size;
  const size = { width, height };
  const before = await keptPast(id, annotations.objects, size);
  const items = before?.present.items ?? (await inTurns(annotations.objects, fromWire));
  const unsaved = await kept(id);
  signal.throwIfAborted();
  app.saver.track(id, size, annotations.version, items, annotations.done);
  let history: History<Doc> = before ?? started({ items, active: null });
  history = replaced(history, { items, active: null });
  let photoDone = annotations.done;
  if (unsaved) {
    const mine = unsaved.objects.map(fromWire);
    const all = unsaved.version === annotations.version ? mine : reconciled([], mine, items, copy);
    history = pushed(history, { items: all, active: null });
    photoDone = unsaved.done;
    app.tell("Work that had not reached the server is back.");
  }
  app.store.set({
    history,
    photoDone,
    labels: [...new Set([...app.state.labels, ...history.present.items.map(({ label }) => label)])],
  });
  if (unsaved) app.saver.change(id, history.present.items, photoDone);
  else if (annotations.imported && items.length) {
    app.tell(`These objects are from ${annotations.imported.file}, which stays as it is.`);
  }
}

export function copy(item: Item): Item {
  return { ...item, id: newId() };
}

/** What to do where another page saved this photo meanwhile. */
export async function resolve(app: App, how: "both" | "theirs" | "mine"): Promise<void> {
  const { photo, history, photoDone } = app.state;
  if (!photo) return;
  const annotations = await app.backend.annotations(photo.id);
  const theirs = annotations.objects.map(fromWire);
  const mine = history.present.items;
  const base = app.saver.base(photo.id);
  app.saver.track(photo.id, app.size, annotations.version, theirs, annotations.done);
  const items = how === "theirs" ? theirs : how === "mine" ? mine : reconciled(base, mine, theirs, copy);
  const done = how === "theirs" ? annotations.done : photoDone;
  app.store.set({ photoDone: done });
  app.commit({ items, active: null });
  await app.saver.flush();
}

/** The photo `step` places further, or the next that is not done. */
export function neighbour(app: App, step: number, notDone = false): PhotoInfo | null {
  const { photos, photo } = app.state;
  const at = photos.findIndex(({ id }) => id === photo?.id);
  for (let i = at + step; i >= 0 && i < photos.length; i += step) {
    if (!notDone || !photos[i].done) return photos[i];
  }
  return null;
}

export function go(app: App, step: number, notDone = false): void {
  const next = neighbour(app, step, notDone);
  if (next) void open(app, next.id);
  else app.tell(notDone ? "No further photo is left to do." : step > 0 ? "That was the last photo." : "That was the first photo.");
}

/** The next photo's picture, on its way before it is asked for. */
let ahead: { id: string | null; picture: Promise<Blob | null> } = { id: null, picture: Promise.resolve(null) };

async function getAhead(app: App): Promise<void> {
  const next = neighbour(app, 1);
  if (!next) return;
  await app.backend.encodeAhead(next.id).catch(() => undefined);
  ahead = { id: next.id, picture: app.backend.picture(next.id).catch(() => null) };
}

/** Keep in the address which photo is shown, so that a reload shows it again. */
function remember(id: string): void {
  const url = new URL(location.href);
  url.searchParams.set("photo", id);
  history.replaceState(null, "", url);
}

export function remembered(): string | null {
  return new URL(location.href).searchParams.get("photo");
}
