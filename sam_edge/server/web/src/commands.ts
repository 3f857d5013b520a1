/** Everything that can be done by key: one table for keys, tooltips and the sheet of keys. */
import type { App, Tool } from "./app";
import * as edit from "./tools/edit";
import * as everything from "./tools/everything";
import * as photos from "./tools/photos";
import { nextCandidate } from "./tools/segment";

export interface Command {
  readonly name: string;
  readonly title: string;
  readonly group: "Objects" | "Masks" | "View" | "Photos" | "Labels";
  /** As in "Ctrl+Shift+Z": modifiers in this order, then `event.key`, letters in capitals. */
  readonly keys: readonly string[];
  readonly run: (app: App) => void;
  /** Only where the photo or nothing has the focus, not on a button. */
  readonly onStage?: boolean;
  /** Whether the sheet of keys has it; without this, always. */
  readonly possible?: (app: App) => boolean;
}

const tool = (name: string, title: string, key: string, which: Tool): Command => ({
  name,
  title,
  group: which === "pan" ? "View" : "Masks",
  keys: [key],
  run: (app) => app.store.set({ tool: which }),
});

export const COMMANDS: readonly Command[] = [
  tool("segment", "Point and box", "S", "segment"),
  tool("brush", "Brush", "B", "brush"),
  tool("erase", "Eraser", "E", "erase"),
  tool("cut", "Knife: cut an object in two", "K", "cut"),
  tool("pan", "Move the photo", "V", "pan"),
  {
    name: "finish",
    title: "Object is finished, begin the next",
    group: "Objects",
    keys: ["Enter", "N"],
    onStage: true,
    run: edit.finish,
  },
  {
    name: "candidate",
    title: "Next candidate: whole, part, detail",
    group: "Objects",
    keys: ["Tab"],
    onStage: true,
    run: (app) => void nextCandidate(app, 1),
  },
  {
    name: "candidateBack",
    title: "Candidate before",
    group: "Objects",
    keys: ["Shift+Tab"],
    onStage: true,
    run: (app) => void nextCandidate(app, -1),
  },
  { name: "undo", title: "Undo", group: "Objects", keys: ["Ctrl+Z", "Z"], run: (app) => app.undo() },
  {
    name: "redo",
    title: "Redo",
    group: "Objects",
    keys: ["Ctrl+Shift+Z", "Ctrl+Y", "Shift+Z"],
    run: (app) => app.redo(),
  },
  {
    name: "remove",
    title: "Delete the object",
    group: "Objects",
    keys: ["Delete", "Backspace"],
    run: (app) => edit.remove(app),
  },
  {
    name: "done",
    title: "Object is checked, or not",
    group: "Objects",
    keys: ["C"],
    run: (app) => edit.toggleDone(app),
  },
  { name: "nextObject", title: "Next object", group: "Objects", keys: ["J"], run: (app) => edit.neighbour(app, 1) },
  {
    name: "previousObject",
    title: "Object before",
    group: "Objects",
    keys: ["Shift+J"],
    run: (app) => edit.neighbour(app, -1),
  },
  {
    name: "everything",
    title: "Everything: find all objects",
    group: "Objects",
    keys: ["G"],
    run: (app) => void everything.start(app),
    possible: (app) => app.backend.search !== null,
  },
  { name: "merge", title: "Merge the marked objects", group: "Masks", keys: ["M"], run: edit.mergeMarked },
  {
    name: "split",
    title: "Split into connected pieces",
    group: "Masks",
    keys: ["Shift+K"],
    run: edit.splitPieces,
  },
  { name: "tidy", title: "Fill holes, drop specks", group: "Masks", keys: ["O"], run: edit.tidyActive },
  {
    name: "smaller",
    title: "Smaller brush",
    group: "Masks",
    keys: ["["],
    run: (app) => app.store.set({ brush: Math.max(2, Math.round(app.state.brush / 1.25)) }),
  },
  {
    name: "larger",
    title: "Larger brush",
    group: "Masks",
    keys: ["]"],
    run: (app) => app.store.set({ brush: Math.min(200, Math.round(app.state.brush * 1.25) + 1) }),
  },
  {
    name: "hide",
    title: "Hide or show the masks",
    group: "View",
    keys: ["H"],
    run: (app) => app.store.set({ hidden: !app.state.hidden }),
  },
  { name: "fit", title: "Fit the photo", group: "View", keys: ["F", "0"], run: (app) => app.stage.fit() },
  { name: "zoomIn", title: "Zoom in", group: "View", keys: ["+", "="], run: (app) => zoom(app, 1.25) },
  { name: "zoomOut", title: "Zoom out", group: "View", keys: ["-"], run: (app) => zoom(app, 0.8) },
  {
    name: "part",
    title: "See small things: encode what is in view",
    group: "View",
    keys: ["P"],
    run: (app) => void photos.encodePart(app),
  },
  { name: "next", title: "Next photo", group: "Photos", keys: [".", "PageDown"], run: (app) => photos.go(app, 1) },
  {
    name: "previous",
    title: "Photo before",
    group: "Photos",
    keys: [",", "PageUp"],
    run: (app) => photos.go(app, -1),
  },
  {
    name: "nextNotDone",
    title: "Next photo that is not done",
    group: "Photos",
    keys: [">", "Shift+PageDown"],
    run: (app) => photos.go(app, 1, true),
  },
  {
    name: "photoDone",
    title: "Photo is done, or not",
    group: "Photos",
    keys: ["Shift+C"],
    run: (app) => app.setPhotoDone(!app.state.photoDone),
  },
];

function zoom(app: App, factor: number): void {
  const { width, height } = app.stage.stageSize;
  app.stage.zoom({ x: width / 2, y: height / 2 }, factor);
}

const BY_NAME = new Map(COMMANDS.map((command) => [command.name, command]));
const BY_KEY = new Map(COMMANDS.flatMap((command) => command.keys.map((key) => [key, command])));

export function command(name: string): Command {
  return BY_NAME.get(name)!;
}

export function commandFor(event: KeyboardEvent): Command | undefined {
  return BY_KEY.get(keyOf(event));
}

/** The key's sign; where the layout has no Latin letters, the one that stands there on most. */
export function signOf({ key, code, shiftKey }: KeyboardEvent): string {
  if (key.length > 1 || key < "\u007f" || !code.startsWith("Key")) return key;
  return shiftKey ? code[3] : code[3].toLowerCase();
}

/** A pressed key as the table spells it. */
function keyOf(event: KeyboardEvent): string {
  const sign = signOf(event);
  const letter = sign.length === 1;
  const name = letter ? sign.toUpperCase() : sign;
  // Shift is part of a sign such as > or +, but not of a letter.
  const shift = event.shiftKey && (!letter || name !== sign.toLowerCase());
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${shift ? "Shift+" : ""}${name}`;
}

const SIGNS: Readonly<Record<string, string>> = { ArrowUp: "↑", Delete: "Del", PageDown: "PgDn", PageUp: "PgUp" };
const APPLE = /Mac|iPhone|iPad/.test(navigator.userAgent);

export function spelled(key: string): string {
  return key
    .split(/\+(?=.)/)
    .map((part) => (part === "Ctrl" && APPLE ? "⌘" : (SIGNS[part] ?? part)))
    .join(APPLE ? "" : "+");
}

export function tooltip(name: string): string {
  const { title, keys } = command(name);
  return `${title} (${spelled(keys[0])})`;
}
