/** The bar on top: photos, tools, undo, and what concerns the photo as a whole. */
import type { App, State, Tool } from "../app";
import { command, tooltip } from "../commands";
import type { GrounderInfo } from "../api/types";
import { neighbour } from "../tools/photos";
import * as words from "../tools/words";
import { apply, h, icon, on } from "./dom";
import { ICONS } from "./icons";

export interface Openers {
  photos(): void;
  exporting(): void;
  help(): void;
  panel(): void;
  theme(): void;
  conflict(): void;
}

type Drawn = { readonly element: HTMLElement; update(state: State): void };

/** A line for words, where the server has something that finds them. */
function wordLine(app: App): { element: HTMLElement; input: HTMLInputElement; go: HTMLButtonElement } {
  const input = h("input", {
    type: "text",
    placeholder: "the red mug, a plate",
    "aria-label": "Words: what to find; commas between kinds of things",
    maxlength: "1000",
    autocomplete: "off",
  });
  const go = button("Find what the words name", ICONS.find, () => element.requestSubmit(), "Find");
  const element = h("form", { class: "words" }, input, go);
  on(element, "submit", (event) => {
    event.preventDefault();
    void words.find(app, input.value);
  });
  return { element, input, go };
}

export function toolbar(app: App, openers: Openers, grounder: GrounderInfo | null): Drawn {
  const photoName = h("span", { class: "name" });
  const photoCount = h("span", { class: "count" });
  const photos = h(
    "button",
    { type: "button", class: "photo", title: "All photos", "aria-haspopup": "dialog" },
    icon(ICONS.photos),
    photoName,
    photoCount,
  );
  on(photos, "click", openers.photos);
  const previous = act(app, "previous", ICONS.previous);
  const next = act(app, "next", ICONS.next);
  const tools = (["segment", "brush", "erase", "cut", "pan"] as Tool[]).map((name) => ({
    name,
    button: act(app, name, ICONS[name as keyof typeof ICONS]),
  }));
  const undo = act(app, "undo", ICONS.undo);
  const redo = act(app, "redo", ICONS.redo);
  const everything = act(app, "everything", ICONS.everything, "Everything");
  const line = grounder && wordLine(app);
  const exporting = button("Export (X)", ICONS.export, openers.exporting, "Export");
  const theme = button("Light or dark (T)", ICONS.theme, openers.theme);
  const help = button("All keys (?)", ICONS.help, openers.help);
  const panel = button("Objects and labels", ICONS.list, openers.panel);
  panel.classList.add("narrow");
  const status = h("button", { type: "button", class: "status" });
  on(status, "click", () => {
    if (app.state.save.kind === "conflict") openers.conflict();
    else void app.saver.flush();
  });

  const group = (label: string, ...children: Node[]): HTMLElement =>
    h("div", { class: "group", role: "group", "aria-label": label }, ...children);
  const bar = h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Tools" },
    group("Photos", photos, previous, next),
    group("Masks", ...tools.map((tool) => tool.button)),
    group("History", undo, redo),
    h("div", { class: "spacer" }),
    status,
    group("Photo", ...(line ? [line.element] : []), ...(app.backend.search ? [everything] : []), exporting),
    group("Page", theme, help, panel),
  );

  return {
    element: h("header", {}, h("h1", { class: "unseen" }, "sam-edge"), bar),
    update(state) {
      const { photo, photos: all, tool, history, save } = state;
      photoName.textContent = photo?.name ?? "No photo";
      const at = all.findIndex(({ id }) => id === photo?.id);
      photoCount.textContent = photo ? `${at + 1} / ${all.length}` : "";
      previous.disabled = !neighbour(app, -1);
      next.disabled = !neighbour(app, 1);
      undo.disabled = history.past.length === 0;
      redo.disabled = history.future.length === 0;
      everything.disabled = exporting.disabled = !photo;
      if (line) line.input.disabled = line.go.disabled = !photo;
      apply(everything, { "aria-pressed": String(state.everything !== null) });
      for (const { name, button: its } of tools) {
        its.disabled = !photo;
        apply(its, { "aria-pressed": String(name === tool) });
      }
      const [text, hint] = statusText(state);
      status.textContent = text;
      apply(status, { title: hint, "data-kind": save.kind, hidden: !photo });
    },
  };
}

function statusText({ save }: State): [string, string] {
  if (save.kind === "saved") return ["Saved", "All of your work is on the disk"];
  if (save.kind === "saving") return ["Saving…", "Your last step is on its way to the disk"];
  if (save.kind === "conflict") return ["Changed elsewhere", "Another page saved this photo: click to choose"];
  return ["Unsaved", `Not saved yet: ${save.why}. It is kept in this browser and tried again. Click: try now`];
}

function act(app: App, name: string, path: string, text?: string): HTMLButtonElement {
  return button(tooltip(name), path, () => command(name).run(app), text);
}

export function button(
  title: string,
  path: string,
  run: () => void,
  text?: string,
): HTMLButtonElement {
  const meaning = title.replace(/ \([^)]*\)$/, "");
  // Who speaks what they see must be understood, so the name holds the text.
  const label = text && !meaning.includes(text) ? `${text}: ${meaning}` : meaning;
  const element = h(
    "button",
    { type: "button", title, "aria-label": label },
    icon(path),
    text ? h("span", { class: "text" }, text) : null,
  );
  on(element, "click", run);
  return element;
}
