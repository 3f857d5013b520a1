/** What is annotated on one photo: values that never change, so that undo is keeping the old one. */
import type { Corners, Pair, WireObject } from "../api/types";
import type { Candidate } from "../engine/protocol";
import type { Question } from "../engine/prompt";
import { type Region, area, combine, isEmpty } from "../mask/region";
import { type CocoRle, type Size, decodeCoco, encodeCoco } from "../mask/rle";

export interface Prompt {
  readonly points: readonly Pair[];
  readonly labels: readonly (0 | 1)[];
  readonly box: Corners | null;
  /** The mask to start from: of an object that was imported, or edited by hand. */
  readonly base: Region | null;
  /** The part of the photo that was encoded; null means all of it. */
  readonly part: Corners | null;
}

export const NO_PROMPT: Prompt = { points: [], labels: [], box: null, base: null, part: null };

export interface Item {
  readonly id: string;
  readonly label: string;
  readonly done: boolean;
  readonly region: Region;
  readonly score: number | null;
  readonly stability: number | null;
  readonly prompt: Prompt | null;
  /** What Tab goes through, and which of them `region` is. Not saved: asked for again. */
  readonly candidates: readonly Candidate[];
  readonly chosen: number;
  readonly extra: Readonly<Record<string, unknown>>;
}

export interface Doc {
  readonly items: readonly Item[];
  /** The object that clicks go to. */
  readonly active: string | null;
}

export const EMPTY_DOC: Doc = { items: [], active: null };

export function newId(): string {
  return crypto.getRandomValues(new Uint32Array(2)).reduce((text, value) => text + value.toString(36), "");
}

export function newItem(region: Region, label: string, rest: Partial<Item> = {}): Item {
  return {
    id: newId(),
    label,
    done: false,
    region,
    score: null,
    stability: null,
    prompt: null,
    candidates: [],
    chosen: 0,
    extra: {},
    ...rest,
  };
}

export function activeItem(doc: Doc): Item | null {
  return doc.items.find(({ id }) => id === doc.active) ?? null;
}

export function withItem(doc: Doc, item: Item, activate = true): Doc {
  const known = doc.items.some(({ id }) => id === item.id);
  const items = known
    ? doc.items.map((old) => (old.id === item.id ? item : old))
    : [...doc.items, item];
  return { items, active: activate ? item.id : doc.active };
}

export function changed(doc: Doc, ids: ReadonlySet<string>, change: (item: Item) => Item): Doc {
  return { ...doc, items: doc.items.map((item) => (ids.has(item.id) ? change(item) : item)) };
}

export function without(doc: Doc, ids: ReadonlySet<string>): Doc {
  return {
    items: doc.items.filter(({ id }) => !ids.has(id)),
    active: doc.active && ids.has(doc.active) ? null : doc.active,
  };
}

/** The object's mask was drawn by hand: later clicks start from it. */
export function edited(item: Item, region: Region): Item {
  const prompt = { ...NO_PROMPT, base: region, part: item.prompt?.part ?? null };
  return { ...item, region, prompt, candidates: [], chosen: 0, score: null, stability: null };
}

export function merged(items: readonly Item[]): Item {
  const [first, ...others] = items;
  const region = others.reduce((sum, { region: its }) => combine(sum, its, "union"), first.region);
  return edited(first, region);
}

const wireMasks = new WeakMap<Region, CocoRle>();

/** A mask as the server takes it; kept, as the same one is sent with every move over the photo. */
function wireMask(region: Region, size: Size): CocoRle {
  let rle = wireMasks.get(region);
  if (!rle) wireMasks.set(region, (rle = encodeCoco(region, size)));
  return rle;
}

export function question(prompt: Prompt, size: Size): Question {
  const { points, labels, box, base } = prompt;
  const mask = base && !isEmpty(base) ? wireMask(base, size) : null;
  return { points, labels, box, mask };
}

/** Candidates as people look for them: the single answer, then the whole, a part, a detail. */
export function bySize(candidates: readonly Candidate[]): Candidate[] {
  const sized = candidates.map((candidate) => ({
    candidate,
    size: candidate.output === 0 ? Infinity : area(candidate.region),
  }));
  return sized.sort((a, b) => b.size - a.size).map(({ candidate }) => candidate);
}

/** An object as its prompt's best mask has it. */
export function answered(item: Item, prompt: Prompt, candidates: readonly Candidate[], best: number): Item {
  const { region, score } = candidates[best];
  return { ...item, prompt, candidates, chosen: best, region, score, stability: null };
}

const NAMES = ["whole", "part", "detail"];

/** What a candidate is called, of those that `bySize` put in order. */
export function candidateName(candidates: readonly Candidate[], index: number): string {
  if (candidates[index].output === 0) return "answer";
  return NAMES[index - (candidates[0].output === 0 ? 1 : 0)];
}

export function toWire(item: Item, size: Size): WireObject {
  const { prompt } = item;
  const asked = prompt && !prompt.base && (prompt.points.length > 0 || prompt.box);
  return {
    id: item.id,
    label: item.label,
    rle: wireMask(item.region, size),
    score: item.score,
    stability: item.stability,
    prompt: asked
      ? { points: prompt.points, labels: prompt.labels, box: prompt.box, part: prompt.part }
      : null,
    extra: { ...item.extra, done: item.done, chosen: item.candidates[item.chosen]?.output ?? null },
  };
}

export function fromWire(wire: WireObject): Item {
  const { done, chosen: _, ...extra } = wire.extra;
  const region = decodeCoco(wire.rle);
  const prompt: Prompt = wire.prompt
    ? { ...wire.prompt, labels: wire.prompt.labels.map((label) => (label ? 1 : 0)), base: null }
    : { ...NO_PROMPT, base: region };
  return {
    ...newItem(region, wire.label),
    id: wire.id,
    done: done === true,
    score: wire.score,
    stability: wire.stability,
    prompt,
    extra,
  };
}
