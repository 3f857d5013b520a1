/** Keys: the table of commands, the cursor, labels and what belongs to the page itself. */
import type { App } from "./app";
import { commandFor, signOf } from "./commands";
import type { Pointing } from "./pointing";
import { finish, relabel } from "./tools/edit";
import * as everything from "./tools/everything";
import type { Gestures } from "./view/gestures";

export interface PageKeys {
  label(): void;
  exporting(): void;
  help(): void;
  theme(): void;
}

export function listen(app: App, pointing: Pointing, gestures: Gestures, page: PageKeys): void {
  const own: Readonly<Record<string, () => void>> = {
    a: () => pointing.pointHere(false, false),
    A: () => pointing.pointHere(false, true),
    d: () => pointing.pointHere(true, false),
    w: () => pointing.cornerHere(),
    l: page.label,
    x: page.exporting,
    t: page.theme,
    "?": page.help,
    Escape: () => escape(app, pointing, gestures),
  };

  // The photo shows that it has the focus to those who work by keyboard.
  addEventListener("pointerdown", () => document.body.classList.remove("by-keyboard"), true);
  addEventListener("keydown", (event) => {
    if (/^(Tab|Arrow)/.test(event.key)) document.body.classList.add("by-keyboard");
    const target = event.target as HTMLElement;
    if (document.querySelector("dialog[open]")) return;
    if (target.matches("input[type=text], textarea, select")) return;
    const onStage = target === document.body || target === app.stage.element;
    if (event.key === " ") {
      if (!onStage) return; // a button's own key
      gestures.panning = true;
      return event.preventDefault();
    }
    // Sliders move with the arrow keys themselves.
    if (event.key.startsWith("Arrow")) {
      if (onStage && pointing.move(event)) event.preventDefault();
      return;
    }
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (plain && /^[1-9]$/.test(event.key)) {
      const label = app.state.labels[Number(event.key) - 1];
      if (label) relabel(app, label);
      return event.preventDefault();
    }
    const mine = plain || event.key === "Escape" ? own[signOf(event)] : undefined;
    if (mine) {
      mine();
      return event.preventDefault();
    }
    const command = commandFor(event);
    if (!command || (command.onStage && !onStage)) return;
    // With nothing to choose among, Tab goes on to the next button, as everywhere.
    if (event.key === "Tab" && !hasCandidates(app)) return;
    command.run(app);
    event.preventDefault();
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") gestures.panning = false;
  });
  addEventListener("blur", () => (gestures.panning = false));
}

function hasCandidates(app: App): boolean {
  const prompt = app.active?.prompt;
  return prompt !== null && prompt !== undefined && (prompt.points.length > 0 || prompt.box !== null);
}

/** Stop the innermost thing that is going on. */
function escape(app: App, pointing: Pointing, gestures: Gestures): void {
  gestures.cancel();
  if (pointing.spanning) return pointing.cancel();
  if (app.state.everything) return everything.close(app);
  if (app.active || app.state.marked.size) return finish(app);
  if (app.state.tool !== "segment") app.store.set({ tool: "segment" });
}
