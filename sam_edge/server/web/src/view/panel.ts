/** At the side: labels with their colours and keys, and the list of objects. */
import type { App, State } from "../app";
import { command, tooltip } from "../commands";
import { css } from "../state/colours";
import type { Item } from "../state/document";
import { area } from "../mask/region";
import { dropLabel, relabel, remove, toggleDone } from "../tools/edit";
import { apply, h, icon, on } from "./dom";
import { ICONS } from "./icons";
import { previewLook } from "./looks";
import { button } from "./toolbar";

/** Rows made in one turn: a thousand at once would be a pause that is felt. */
const NEW_ROWS = 100;

export class Panel {
  readonly element: HTMLElement;
  private readonly labels = h("div", { class: "labels", role: "group", "aria-label": "Label of new objects" });
  private readonly input = h("input", {
    type: "text",
    placeholder: "New label",
    "aria-label": "Name a label (L)",
    title: "Name a label (L)",
    maxlength: "100",
    spellcheck: "false",
    autocomplete: "off",
    enterkeyhint: "done",
  });
  private readonly heading = h("h2", { id: "objects" });
  private readonly list = h("ul", { class: "objects", "aria-labelledby": "objects" });
  private readonly rows = new Map<string, Row>();
  /** What goes on drawing the list. */
  private rest: ReturnType<typeof setTimeout> | undefined;
  private recolour = false;
  private readonly hint = h("p", { class: "hint" });
  private readonly tools: HTMLElement;
  private readonly photoDone = h("input", { type: "checkbox", id: "photo-done" });

  constructor(
    private readonly app: App,
    close: () => void,
  ) {
    on(this.input, "keydown", (event) => {
      if (event.key === "Enter") {
        relabel(app, this.input.value);
        this.input.value = "";
        app.stage.element.focus();
      } else if (event.key === "Escape") {
        this.input.value = "";
        app.stage.element.focus();
      }
      event.stopPropagation();
    });
    on(this.photoDone, "change", () => app.setPhotoDone(this.photoDone.checked));
    const act = (name: string, path: string): HTMLButtonElement =>
      button(tooltip(name), path, () => command(name).run(app));
    this.tools = h(
      "div",
      { class: "row-tools", role: "group", "aria-label": "All objects" },
      act("merge", ICONS.merge),
      act("tidy", ICONS.tidy),
      act("hide", ICONS.eye),
    );
    const closer = button("Close the list", ICONS.close, close);
    closer.classList.add("narrow");
    this.element = h(
      "aside",
      { class: "panel", "aria-label": "Labels and objects" },
      h("div", { class: "head" }, h("h2", {}, "Label"), closer),
      this.labels,
      this.input,
      h("div", { class: "head" }, this.heading, this.tools),
      this.hint,
      this.list,
      h("label", { class: "photo-done", for: "photo-done" }, this.photoDone, "Photo is done"),
    );
  }

  focusLabel(): void {
    this.element.classList.add("open");
    this.input.focus();
    this.input.select();
  }

  update(state: State, before: State | null): void {
    const { items, active } = state.history.present;
    if (!before || before.labels !== state.labels || before.label !== state.label) this.drawLabels(state);
    const old = before?.history.present;
    if (old?.items !== items || old.active !== active || before?.marked !== state.marked) {
      this.drawObjects(items, active, state.marked, before?.labels !== state.labels);
    } else if (before?.labels !== state.labels) {
      this.drawObjects(items, active, state.marked, true);
    }
    const done = items.filter((item) => item.done).length;
    this.heading.textContent = items.length ? `Objects ${items.length}` : "Objects";
    apply(this.heading, { title: `${done} of ${items.length} checked` });
    this.tools.hidden = items.length === 0;
    this.hint.hidden = items.length > 0;
    this.hint.textContent = state.photo
      ? "Move over the photo and click on something. Right-click says “not this”, dragging draws a box."
      : "Objects will be listed here.";
    this.photoDone.checked = state.photoDone;
    this.photoDone.disabled = !state.photo;
  }

  private drawLabels({ labels, label }: State): void {
    this.labels.replaceChildren(
      ...labels.map((name, index) => {
        const dot = h("span", { class: "dot" });
        dot.style.background = css(this.app.colourOf(name));
        const key = index < 9 ? h("kbd", {}, String(index + 1)) : null;
        const chip = h(
          "button",
          { type: "button", class: "chip", "aria-pressed": String(name === label) },
          dot,
          h("span", { class: "text" }, name),
          key,
        );
        chip.title = `${name}${key ? ` (${index + 1})` : ""}. Del drops it where it is not in use`;
        on(chip, "click", () => relabel(this.app, name));
        on(chip, "keydown", (event) => {
          if (event.key !== "Delete" && event.key !== "Backspace") return;
          event.stopPropagation(); // not the object
          dropLabel(this.app, name);
        });
        return chip;
      }),
    );
  }

  private drawObjects(
    items: readonly Item[],
    active: string | null,
    marked: ReadonlySet<string>,
    recolour: boolean,
  ): void {
    clearTimeout(this.rest);
    this.recolour ||= recolour;
    const ids = new Set(items.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    let previous: Element | null = null;
    let made = 0;
    for (const item of items) {
      let row = this.rows.get(item.id);
      if (!row && ++made > NEW_ROWS) {
        this.rest = setTimeout(() => this.drawObjects(items, active, marked, this.recolour), 0);
        return;
      }
      if (!row) this.rows.set(item.id, (row = new Row(this.app)));
      row.update(item, item.id === active, marked.has(item.id), this.recolour);
      const place: Element | null = previous ? previous.nextElementSibling : this.list.firstElementChild;
      if (place !== row.element) this.list.insertBefore(row.element, place);
      previous = row.element;
      if (item.id === active && !row.wasActive) row.element.scrollIntoView({ block: "nearest" });
      row.wasActive = item.id === active;
    }
    this.recolour = false;
  }
}

/** One object's row; touched only where it changed, so that a thousand of them are quick. */
class Row {
  readonly element: HTMLElement;
  wasActive = false;
  private readonly dot = h("span", { class: "dot" });
  private readonly name = h("span", { class: "text" });
  private readonly detail = h("span", { class: "detail" });
  private readonly choose: HTMLButtonElement;
  private readonly check: HTMLButtonElement;
  private item: Item | null = null;
  private state = "";

  constructor(private readonly app: App) {
    this.choose = h("button", { type: "button", class: "choose" }, this.dot, this.name, this.detail);
    on(this.choose, "click", (event) => this.chosen(event));
    on(this.choose, "pointerenter", () => {
      const { region, label } = this.item!;
      app.stage.setHover({ region, look: previewLook(app.colourOf(label)) });
    });
    on(this.choose, "pointerleave", () => app.stage.setHover(null));
    this.check = h("button", { type: "button", class: "check" }, icon(ICONS.check));
    on(this.check, "click", () => toggleDone(app, new Set([this.item!.id])));
    const bin = h("button", { type: "button", class: "bin", title: "Delete (Del)" }, icon(ICONS.remove));
    on(bin, "click", () => remove(app, new Set([this.item!.id])));
    bin.setAttribute("aria-label", "Delete this object");
    this.element = h("li", {}, this.check, this.choose, bin);
  }

  update(item: Item, active: boolean, marked: boolean, recolour: boolean): void {
    const state = `${active} ${marked}`;
    if (item === this.item && state === this.state && !recolour) return;
    const known = this.item;
    this.item = item;
    this.state = state;
    this.dot.style.background = css(this.app.colourOf(item.label));
    this.name.textContent = item.label;
    if (known?.region !== item.region || known.score !== item.score) {
      this.detail.textContent = item.score === null ? "drawn" : item.score.toFixed(2);
      this.choose.title = `${area(item.region)} pixels. Ctrl-click marks it, for merging`;
    }
    apply(this.choose, { "aria-pressed": String(active) });
    apply(this.check, {
      "aria-pressed": String(item.done),
      "aria-label": `${item.label} is checked`,
      title: "Checked (C)",
    });
    this.element.className = `${active ? "active" : ""} ${marked ? "marked" : ""} ${item.done ? "done" : ""}`;
  }

  private chosen(event: MouseEvent): void {
    const { app } = this;
    const { id } = this.item!;
    if (event.ctrlKey || event.metaKey || event.shiftKey) {
      const marked = new Set(app.state.marked);
      if (!marked.delete(id)) marked.add(id);
      app.store.set({ marked });
    } else {
      app.store.set({ marked: new Set() });
      app.focus(app.doc.active === id ? null : id);
      app.stage.element.focus();
    }
  }
}
