/** The bar over the photo's lower edge: candidates of the object, or the sliders of "everything". */
import type { App, Finding, State } from "../app";
import { command, tooltip } from "../commands";
import { candidateName } from "../state/document";
import * as everything from "../tools/everything";
import { chooseCandidate } from "../tools/segment";
import { apply, h, on } from "./dom";
import { ICONS } from "./icons";
import { button } from "./toolbar";

export class Bar {
  readonly element = h("div", { class: "bar", hidden: true });
  private readonly candidates = h("div", { class: "group", role: "group", "aria-label": "Candidates" });
  private readonly object: HTMLElement;
  private readonly negative: HTMLButtonElement;
  private readonly sliders: HTMLElement;
  private readonly count = h("output", { class: "count" });
  private readonly keepAll: HTMLButtonElement;
  private readonly inputs: { input: HTMLInputElement; key: keyof Finding }[] = [];
  private readonly progress = h("progress", { max: "1", "aria-label": "Finding objects" });

  constructor(private readonly app: App) {
    this.negative = button("Points say “not this” (right-click, Alt-click, D)", ICONS.minus, () =>
      app.store.set({ negative: !app.state.negative }),
    );
    const finish = button(tooltip("finish"), ICONS.check, () => command("finish").run(app), "Finish");
    finish.classList.add("primary");
    const bin = button(tooltip("remove"), ICONS.remove, () => command("remove").run(app));
    const split = button(tooltip("split"), ICONS.cut, () => command("split").run(app));
    split.classList.add("optional");
    this.object = h("div", { class: "group" }, this.candidates, this.negative, split, bin, finish);

    this.keepAll = button("Keep all that are shown", ICONS.check, () => everything.keepAll(app), "Keep all");
    this.keepAll.classList.add("primary");
    this.sliders = h(
      "div",
      { class: "group sliders" },
      this.progress,
      this.slider("Sure", "leastScore", 0, 1, 0.01),
      this.slider("Stable", "leastStability", 0, 1, 0.01),
      this.count,
      this.keepAll,
      button("Close (Esc)", ICONS.close, () => everything.close(app)),
    );
    this.element.append(this.object, this.sliders);
  }

  update(state: State): void {
    const { app } = this;
    const item = app.active;
    const finding = state.everything;
    this.object.hidden = !item || finding !== null;
    this.sliders.hidden = finding === null;
    this.element.hidden = !item && !finding;
    if (finding) this.drawSliders(finding);
    else if (item) {
      apply(this.negative, { "aria-pressed": String(state.negative) });
      const named = item.candidates.length > 1 ? item.candidates : [];
      this.candidates.hidden = !item.prompt || (item.prompt.points.length === 0 && !item.prompt.box);
      this.candidates.replaceChildren(
        ...named.map((candidate, index) => {
          const name = candidateName(item.candidates, index);
          const chip = h(
            "button",
            { type: "button", class: "chip", "aria-pressed": String(index === item.chosen) },
            name,
            h("span", { class: "detail" }, candidate.score.toFixed(2)),
          );
          chip.title = `${name}: the model's own score is ${candidate.score.toFixed(3)} (Tab)`;
          on(chip, "click", () => chooseCandidate(app, index));
          return chip;
        }),
      );
      if (!named.length) {
        const more = h("button", { type: "button", class: "chip", title: tooltip("candidate") }, "Others");
        on(more, "click", () => command("candidate").run(app));
        this.candidates.append(more);
      }
    }
  }

  private drawSliders(finding: Finding): void {
    const searching = finding.progress !== null;
    this.progress.hidden = !searching;
    this.progress.value = finding.progress ?? 0;
    for (const { input, key } of this.inputs) {
      input.parentElement!.hidden = searching;
      const value = String(finding[key]);
      if (input.value !== value) input.value = value;
      input.setAttribute("aria-valuetext", Number(value).toFixed(2));
      (input.nextElementSibling as HTMLElement).textContent = Number(value).toFixed(2);
    }
    const left = everything.remaining(finding).length;
    this.count.textContent = searching ? "Looking…" : `${left} objects`;
    this.keepAll.hidden = searching;
    this.keepAll.disabled = left === 0;
  }

  private slider(name: string, key: keyof Finding, min: number, max: number, step: number): HTMLElement {
    const input = h("input", {
      type: "range",
      min: String(min),
      max: String(max),
      step: String(step),
    });
    on(input, "input", () => everything.change(this.app, { [key]: Number(input.value) }));
    this.inputs.push({ input, key });
    return h("label", {}, h("span", {}, name), input, h("output", { class: "detail" }));
  }
}
