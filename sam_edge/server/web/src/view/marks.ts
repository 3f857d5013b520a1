/** What lies over the masks: points to take away, boxes, the cursor, the brush's size. */
import type { App } from "../app";
import type { Corners } from "../api/types";
import { removePoint } from "../tools/segment";
import { apply, h, on } from "./dom";
import type { Point } from "./viewport";

export class Marks {
  private readonly points = h("div");
  private readonly promptBox = h("div", { class: "box prompt" });
  private readonly band = h("div", { class: "box band", hidden: true });
  private readonly cross = h("div", { class: "cross", hidden: true });
  private readonly brush = h("div", { class: "brush", hidden: true });
  private readonly line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  private readonly path = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  /** The keyboard's cursor, in the photo's pixels. */
  cursor: Point | null = null;
  private drawn: unknown = null;

  constructor(private readonly app: App) {
    apply(this.line, { class: "knife", "aria-hidden": "true" });
    this.line.append(this.path);
    app.stage.marks.append(this.promptBox, this.line, this.points, this.band, this.cross, this.brush);
  }

  /** Put the active object's points and box where they lie now. */
  update(): void {
    const { app } = this;
    const prompt = app.state.everything ? null : (app.active?.prompt ?? null);
    if (prompt !== this.drawn) {
      this.drawn = prompt;
      const had = document.activeElement?.closest(".point") !== null && document.activeElement !== null;
      this.points.replaceChildren(
        ...(prompt?.points ?? []).map((at, index) => this.point(at, prompt!.labels[index], index)),
      );
      if (had) app.stage.element.focus();
    }
    (prompt?.points ?? []).forEach(([x, y], index) => {
      const at = app.stage.toStage({ x, y });
      (this.points.children[index] as HTMLElement).style.transform = `translate(${at.x}px, ${at.y}px)`;
    });
    this.place(this.promptBox, prompt?.box ?? null);
    if (this.cursor) {
      const at = app.stage.toStage(this.cursor);
      this.cross.style.transform = `translate(${at.x}px, ${at.y}px)`;
    }
    this.cross.hidden = !this.cursor;
  }

  showBand(from: Point, to: Point): void {
    const start = this.app.stage.toPhoto(from);
    const end = this.app.stage.toPhoto(to);
    this.place(this.band, ordered(start, end));
  }

  hideBand(): void {
    this.band.hidden = true;
  }

  showBrush(at: Point | null): void {
    const { tool, brush } = this.app.state;
    const shown = at !== null && (tool === "brush" || tool === "erase");
    this.brush.hidden = !shown;
    if (!shown) return;
    this.brush.style.width = this.brush.style.height = `${2 * brush}px`;
    this.brush.style.transform = `translate(${at.x - brush}px, ${at.y - brush}px)`;
    this.brush.classList.toggle("erasing", tool === "erase");
  }

  showLine(points: readonly Point[]): void {
    this.path.setAttribute("points", points.map(({ x, y }) => `${x},${y}`).join(" "));
  }

  private point([x, y]: readonly [number, number], label: number, index: number): HTMLElement {
    const kind = label ? "on the object" : "not on the object";
    const button = h("button", {
      type: "button",
      class: `point ${label ? "positive" : "negative"}`,
      "aria-label": `Point ${index + 1}, ${kind}, at ${Math.round(x)}, ${Math.round(y)}. Remove it.`,
      title: "Click to take this point away",
    });
    on(button, "click", () => void removePoint(this.app, index));
    return button;
  }

  private place(element: HTMLElement, box: Corners | null): void {
    element.hidden = !box;
    if (!box) return;
    const first = this.app.stage.toStage({ x: box[0], y: box[1] });
    const last = this.app.stage.toStage({ x: box[2], y: box[3] });
    element.style.transform = `translate(${first.x}px, ${first.y}px)`;
    element.style.width = `${last.x - first.x}px`;
    element.style.height = `${last.y - first.y}px`;
  }
}

export function ordered(a: Point, b: Point): Corners {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}
