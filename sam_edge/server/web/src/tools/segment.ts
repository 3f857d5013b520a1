/** Point and click: previews, points, boxes and candidates. */
import type { App } from "../app";
import { ApiError } from "../api/errors";
import type { Corners, Pair } from "../api/types";
import type { Question } from "../engine/prompt";
import type { Answer, Candidate } from "../engine/protocol";
import { EMPTY, area, contains, isEmpty } from "../mask/region";
import {
  type Item,
  NO_PROMPT,
  type Prompt,
  answered,
  bySize,
  candidateName,
  newItem,
  question,
  withItem,
} from "../state/document";
import { encodeAgain, isWhole } from "./photos";
import { inside, type Point } from "../view/viewport";
import { previewLook } from "../view/looks";

/** A click this near to a point (CSS pixels) is one on it; see `view/marks.ts`. */
export interface Aim {
  readonly at: Point;
  readonly negative: boolean;
  /** Begin another object instead of adding to the one that is being worked on. */
  readonly fresh: boolean;
}

/** Show what a click would give. */
export function preview(app: App, aim: Aim): void {
  const { state, stage, engine } = app;
  // The last preview stays until the click's own mask is there: no flicker in between.
  if (state.busy) return engine.still();
  if (state.phase.kind !== "ready" || !inside(aim.at, app.size)) return unpreview(app);
  const prompt = extended(aim.fresh ? null : app.active, aim, app);
  if (!prompt) return unpreview(app);
  const label = aim.fresh ? state.label : (app.active?.label ?? state.label);
  engine.hover(asked(prompt, app), stage.displayScale, (answer) => show(app, answer, label));
}

export function unpreview(app: App): void {
  app.engine.still();
  app.stage.setHover(null);
}

function show(app: App, answer: Answer, label: string): void {
  const [{ region }] = answer.candidates;
  app.stage.setHover({ region, look: previewLook(app.colourOf(label)), scale: answer.scale });
  document.dispatchEvent(new CustomEvent("preview-drawn", { detail: answer }));
}

/** Add a point, to the object being worked on or as a new one. */
export function point(app: App, aim: Aim): Promise<void> {
  return app.next(async (stillHere) => {
    if (!ready(app) || !inside(aim.at, app.size)) return;
    const item = aim.fresh ? null : app.active;
    const prompt = extended(item, aim, app);
    if (!prompt) return app.tell("Begin with a click on the object; then say what is not part of it.");
    await ask(app, item ?? newItem(EMPTY, app.state.label), prompt, stillHere);
  });
}

/** A box says all of an object, so it always begins one. */
export function box(app: App, corners: Corners): Promise<void> {
  return app.next(async (stillHere) => {
    if (!ready(app)) return;
    const { width, height } = app.size;
    const [x0, y0, x1, y1] = corners;
    const clipped: Corners = [Math.max(0, x0), Math.max(0, y0), Math.min(width, x1), Math.min(height, y1)];
    if (clipped[2] - clipped[0] < 1 || clipped[3] - clipped[1] < 1) return;
    const prompt: Prompt = { ...NO_PROMPT, box: clipped, part: partOf(app) };
    await ask(app, newItem(EMPTY, app.state.label), prompt, stillHere);
  });
}

/** Take a point of the active object away again. */
export function removePoint(app: App, index: number): Promise<void> {
  return app.next(async (stillHere) => {
    const item = app.active;
    if (!item?.prompt || !ready(app)) return;
    const prompt: Prompt = {
      ...item.prompt,
      points: item.prompt.points.filter((_, at) => at !== index),
      labels: item.prompt.labels.filter((_, at) => at !== index),
    };
    if (!prompt.labels.includes(1) && !prompt.box && !prompt.base) {
      return app.tell("That is the object's last point; Delete removes the object.");
    }
    await ask(app, item, prompt, stillHere);
  });
}

/** Go to the active object's next candidate; those of a longer prompt are asked for first. */
export function nextCandidate(app: App, step: number): Promise<void> {
  return app.next(async (stillHere) => {
    const item = app.active;
    if (!item?.prompt || (item.prompt.points.length === 0 && !item.prompt.box)) return;
    let { candidates, chosen } = item;
    if (candidates.length < 3) {
      if (!ready(app)) return;
      const three = await kept(app, item.prompt, true);
      if (!stillHere()) return;
      const own = candidates[chosen] ?? { region: item.region, score: item.score ?? 0, output: 0 };
      const alone = item.prompt.points.length === 1 && !item.prompt.box && !item.prompt.base;
      candidates = bySize(alone ? three.candidates : [own, ...three.candidates]);
      chosen = alone ? nearest(candidates, item) : candidates.indexOf(own);
    }
    const next = (chosen + step + candidates.length) % candidates.length;
    choose(app, item, candidates, next);
  });
}

export function chooseCandidate(app: App, index: number): void {
  const item = app.active;
  if (item && index < item.candidates.length) choose(app, item, item.candidates, index);
}

function choose(app: App, item: Item, candidates: readonly Candidate[], index: number): void {
  app.commit(withItem(app.doc, answered(item, item.prompt!, candidates, index)));
  const score = candidates[index].score.toFixed(2);
  app.tell(`${candidateName(candidates, index)}, score ${score}`);
}

/** Select what lies under a point: the smallest object there. */
export function select(app: App, at: Point, add: boolean): void {
  const hits = app.doc.items.filter(({ region }) => contains(region, at.x, at.y));
  const hit = hits.sort((a, b) => area(a.region) - area(b.region))[0];
  if (add && hit) {
    const marked = new Set(app.state.marked);
    if (!marked.delete(hit.id)) marked.add(hit.id);
    app.store.set({ marked });
  } else {
    app.store.set({ marked: new Set() });
    app.focus(hit?.id ?? null);
  }
}

/** The masks of a prompt; of a photo whose embedding is gone, once it is there again. */
async function kept(app: App, prompt: Prompt, multimask: boolean | null): Promise<Answer> {
  try {
    return await app.engine.keep(asked(prompt, app), multimask);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === "no_embedding")) throw error;
    await encodeAgain(app);
    return app.engine.keep(asked(prompt, app), multimask);
  }
}

async function ask(app: App, item: Item, prompt: Prompt, stillHere: () => boolean): Promise<void> {
  const answer = await kept(app, prompt, null);
  if (!stillHere()) return;
  if (isEmpty(answer.candidates[answer.best].region)) {
    return app.tell("The model sees nothing there; try another point, or a box.");
  }
  const best = answer.candidates[answer.best];
  const candidates = bySize(answer.candidates);
  app.commit(withItem(app.doc, answered(item, prompt, candidates, candidates.indexOf(best))));
}

/** The prompt with a further point; null where there is nothing to take it away from. */
function extended(item: Item | null, aim: Aim, app: App): Prompt | null {
  const at: Pair = [round(aim.at.x), round(aim.at.y)];
  const part = partOf(app);
  let before = item?.prompt ?? { ...NO_PROMPT, part };
  // Its points may lie outside of what is encoded now, but its mask can be gone on from.
  if (item && String(before.part) !== String(part)) before = { ...NO_PROMPT, base: item.region, part };
  if (aim.negative && before.points.length === 0 && !before.box && !before.base) return null;
  return {
    ...before,
    points: [...before.points, at],
    labels: [...before.labels, aim.negative ? 0 : 1],
  };
}

function asked(prompt: Prompt, app: App): Question {
  return question(prompt, app.size);
}

function partOf({ state: { embedding } }: App): Corners | null {
  return embedding && !isWhole(embedding) ? embedding.part : null;
}

function nearest(candidates: readonly Candidate[], item: Item): number {
  const away = candidates.map(({ score }) => Math.abs(score - (item.score ?? 0)));
  return away.indexOf(Math.min(...away));
}

function ready(app: App): boolean {
  if (app.state.phase.kind === "ready") return true;
  app.tell("One moment: the photo is still being encoded.");
  return false;
}

/** A tenth of a pixel is finer than a hand, and short in files. */
function round(value: number): number {
  return Math.round(value * 10) / 10;
}
