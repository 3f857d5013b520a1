/** Changing masks by hand, and objects as a whole. */
import type { App } from "../app";
import { components, cut, tidied } from "../mask/pieces";
import { EMPTY, type Region, capsule, combine, isEmpty } from "../mask/region";
import {
  type Item,
  activeItem,
  changed,
  edited,
  merged,
  newItem,
  withItem,
  without,
} from "../state/document";
import { rememberLabels } from "../state/labels";
import { activeLook } from "../view/looks";
import type { Point } from "../view/viewport";

/** A brush's or eraser's stroke, from the first touch to the last. */
export class Stroke {
  private region: Region;
  private last: Point | null = null;
  private readonly item: Item | null;

  constructor(
    private readonly app: App,
    private readonly erasing: boolean,
  ) {
    this.item = app.active;
    this.region = this.item?.region ?? EMPTY;
  }

  to(points: readonly Point[]): void {
    const { app } = this;
    const radius = app.state.brush / app.stage.viewport.scale;
    for (const at of points) {
      const dab = capsule(this.last ?? at, at, radius, app.size);
      this.region = combine(this.region, dab, this.erasing ? "difference" : "union");
      this.last = at;
    }
    const label = this.item?.label ?? app.state.label;
    app.stage.setActive({ region: this.region, look: activeLook(app.colourOf(label)) });
  }

  finish(): void {
    const { app, region, item } = this;
    if (region === (item?.region ?? EMPTY)) return;
    if (!item) {
      if (isEmpty(region)) return app.tell("There is no object to erase from: choose one first.");
      app.commit(withItem(app.doc, edited(newItem(region, app.state.label), region)));
    } else if (isEmpty(region)) {
      app.commit(without(app.doc, new Set([item.id])));
      app.tell("Nothing was left of the object, so it is gone. Undo brings it back.");
    } else {
      app.commit(withItem(app.doc, edited(item, region)));
    }
  }
}

/** Cut the active object along a line. */
export function cutAlong(app: App, line: readonly Point[]): void {
  const item = app.active;
  if (!item) return app.tell("Choose the object to cut first.");
  replaceByPieces(app, item, cut(item.region, line, app.size), "The line does not part the object.");
}

/** Make each connected piece of the active object an object of its own. */
export function splitPieces(app: App): void {
  const item = app.active;
  if (!item) return app.tell("Choose the object to split first.");
  replaceByPieces(app, item, components(item.region), "The object is one piece; cut it with the knife (K).");
}

function replaceByPieces(app: App, item: Item, pieces: readonly Region[], otherwise: string): void {
  if (pieces.length < 2) return app.tell(otherwise);
  const [first, ...others] = pieces;
  let doc = withItem(app.doc, edited(item, first));
  for (const region of others) doc = withItem(doc, edited(newItem(region, item.label), region), false);
  app.commit(doc);
  app.tell(`Now ${pieces.length} objects.`);
}

/** Make the marked objects one, the first of them. */
export function mergeMarked(app: App): void {
  const ids = new Set(app.state.marked);
  if (app.doc.active) ids.add(app.doc.active);
  const items = app.doc.items.filter(({ id }) => ids.has(id));
  if (items.length < 2) return app.tell("Mark two objects or more with Ctrl-click, then merge them.");
  const one = merged(items);
  const rest = new Set(items.slice(1).map(({ id }) => id));
  app.commit(withItem(without(app.doc, rest), one));
  app.store.set({ marked: new Set() });
}

/** Fill small holes of the active object and drop its specks. */
export function tidyActive(app: App): void {
  const item = app.active;
  if (!item) return app.tell("Choose an object to tidy first.");
  const { width, height } = app.size;
  const smallest = Math.max(16, Math.round(width * height * 0.0002));
  const region = tidied(item.region, smallest);
  app.commit(withItem(app.doc, edited(item, region)));
  app.tell(`Holes and specks of fewer than ${smallest} pixels are gone.`);
}

/** The objects that a command is for: those marked, or the one being worked on. */
export function chosen(app: App): Set<string> {
  const { marked } = app.state;
  return marked.size ? new Set(marked) : new Set(app.doc.active ? [app.doc.active] : []);
}

export function remove(app: App, ids = chosen(app)): void {
  if (ids.size === 0) return;
  app.commit(without(app.doc, ids));
  app.store.set({ marked: new Set() });
}

/** Later objects get this label, and those chosen get it now. */
export function relabel(app: App, label: string): void {
  const name = label.trim();
  if (!name) return;
  app.useLabel(name);
  const ids = chosen(app);
  const touched = app.doc.items.some((item) => ids.has(item.id) && item.label !== name);
  if (touched) app.commit(changed(app.doc, ids, (item) => ({ ...item, label: name })));
}

/** Forget a label that no object of this photo has; on other photos it is found again. */
export function dropLabel(app: App, label: string): void {
  const { labels, label: current } = app.state;
  if (app.doc.items.some((item) => item.label === label)) return app.tell(`“${label}” is in use.`);
  const rest = labels.filter((name) => name !== label);
  if (rest.length === 0) return;
  rememberLabels(rest);
  app.store.set({ labels: rest, label: current === label ? rest[0] : current });
}

export function toggleDone(app: App, ids = chosen(app)): void {
  if (ids.size === 0) return;
  const done = app.doc.items.some((item) => ids.has(item.id) && !item.done);
  app.commit(changed(app.doc, ids, (item) => ({ ...item, done })));
}

/** Stop working on the object: the next click begins another. */
export function finish(app: App): void {
  app.store.set({ marked: new Set(), negative: false });
  app.focus(null);
}

export function neighbour(app: App, step: number): void {
  const { items, active } = app.doc;
  if (items.length === 0) return;
  const at = items.findIndex(({ id }) => id === active);
  const from = at < 0 && step < 0 ? 0 : at;
  app.focus(items[(from + step + items.length) % items.length].id);
  const item = activeItem(app.doc);
  if (item) app.tell(`${item.label}, object ${items.indexOf(item) + 1} of ${items.length}`);
}
