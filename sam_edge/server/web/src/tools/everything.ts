/** "Everything": all objects the model sees, thinned out by sliders, then picked or kept. */
import type { App, Finding, Found } from "../app";
import { isAbort, reason } from "../api/errors";
import { area, contains } from "../mask/region";
import { decodeCoco } from "../mask/rle";
import { edited, newItem } from "../state/document";
import type { Point } from "../view/viewport";

let running = new AbortController();

export async function start(app: App): Promise<void> {
  const { photo, phase } = app.state;
  const { search } = app.backend;
  if (!search) return;
  if (!photo || phase.kind !== "ready") return app.tell("One moment: the photo is still being encoded.");
  running.abort();
  const { signal } = (running = new AbortController());
  app.focus(null);
  const usual = app.model.everything;
  const leastScore = usual["pred_iou_thresh"] ?? 0.88;
  const leastStability = usual["stability_score_thresh"] ?? 0.95;
  const finding: Finding = {
    progress: 0,
    found: [],
    leastScore,
    leastStability,
    leastArea: 0,
    left: new Set(),
  };
  app.store.set({ everything: finding });
  try {
    // Asked for generously: the sliders then only leave out.
    const body = {
      photo: photo.id,
      pred_iou_thresh: 0.6 * leastScore,
      stability_score_thresh: 0.8 * leastStability,
    };
    const masks = await search.everything(
      body,
      (event) => {
        if (event.event === "progress") change(app, { progress: event.done / event.total });
      },
      signal,
    );
    const found = masks.map(({ rle, score, stability }) => ({ region: decodeCoco(rle), score, stability }));
    change(app, { progress: null, found });
  } catch (error) {
    if (isAbort(error) || signal.aborted) return;
    app.store.set({ everything: null });
    app.tell(reason(error), "error");
  }
}

export function close(app: App): void {
  running.abort();
  app.store.set({ everything: null });
}

export function change(app: App, patch: Partial<Finding>): void {
  const { everything } = app.state;
  if (everything) app.store.set({ everything: { ...everything, ...patch } });
}

/** What the sliders leave, largest first, so that small ones are drawn on top. */
export function remaining({ found, leastScore, leastStability, leastArea, left }: Finding): number[] {
  return found
    .map(({ region, score, stability }, index) => ({ index, score, stability, size: area(region) }))
    .filter(
      ({ index, score, stability, size }) =>
        !left.has(index) && score >= leastScore && stability >= leastStability && size >= leastArea,
    )
    .sort((a, b) => b.size - a.size)
    .map(({ index }) => index);
}

/** Keep the smallest of the shown masks under a point. */
export function pick(app: App, at: Point): void {
  const { everything } = app.state;
  if (!everything) return;
  const hit = remaining(everything)
    .reverse()
    .find((index) => contains(everything.found[index].region, at.x, at.y));
  if (hit === undefined) return;
  keep(app, [hit]);
}

export function keepAll(app: App): void {
  const { everything } = app.state;
  if (!everything) return;
  keep(app, remaining(everything));
  close(app);
}

function keep(app: App, indices: readonly number[]): void {
  const { everything, label } = app.state;
  if (!everything || indices.length === 0) return;
  const items = indices.map((index) => asItem(everything.found[index], label));
  change(app, { left: new Set([...everything.left, ...indices]) });
  app.commit({ items: [...app.doc.items, ...items], active: null });
  app.tell(items.length === 1 ? "Kept." : `Kept ${items.length} objects.`);
}

function asItem({ region, score, stability }: Found, label: string): ReturnType<typeof newItem> {
  return { ...edited(newItem(region, label), region), score, stability };
}
