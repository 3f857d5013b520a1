/** What the pointer and the keyboard's cursor mean, by tool. */
import type { App } from "./app";
import { Stroke, cutAlong } from "./tools/edit";
import * as everything from "./tools/everything";
import { box, point, preview, select, unpreview } from "./tools/segment";
import type { Meaning, Modifiers } from "./view/gestures";
import { type Marks, ordered } from "./view/marks";
import { drawActive } from "./view/masks";
import { firstHint } from "./view/overlay";
import { type Point, inside } from "./view/viewport";

const STEP = { fine: 1, usual: 10, far: 60 };

export class Pointing implements Meaning {
  private drawing: Stroke | null = null;
  private line: Point[] = [];
  /** Where the pointer is, in the stage's CSS pixels. */
  private at: Point | null = null;
  private corner: Point | null = null;

  constructor(
    private readonly app: App,
    private readonly marks: Marks,
  ) {}

  drag(): "box" | "stroke" | "pan" {
    const { tool, everything: finding } = this.app.state;
    if (tool === "pan" || finding) return "pan";
    return tool === "segment" ? "box" : "stroke";
  }

  hover(at: Point, { negative, shift, control }: Modifiers): void {
    const { app } = this;
    this.at = at;
    this.marks.cursor = null;
    this.marks.showBrush(at);
    if (app.state.tool !== "segment" || app.state.everything || control) return unpreview(app);
    this.preview(app.stage.toPhoto(at), negative, shift);
  }

  leave(): void {
    this.at = null;
    this.marks.showBrush(null);
    unpreview(this.app);
  }

  click(at: Point, { negative, shift, control }: Modifiers): void {
    const { app } = this;
    const where = app.stage.toPhoto(at);
    if (!app.state.photo) return;
    this.marks.cursor = null;
    this.marks.update();
    if (app.state.everything) return everything.pick(app, where);
    if (app.state.tool !== "segment" || control) return select(app, where, control && shift);
    this.place(where, negative || app.state.negative, shift);
  }

  box(from: Point, to: Point, finished: boolean): void {
    unpreview(this.app);
    this.marks.showBand(from, to);
    if (!finished) return;
    this.marks.hideBand();
    const { stage } = this.app;
    const corners = ordered(stage.toPhoto(from), stage.toPhoto(to)).map((value) => Math.round(value));
    void box(this.app, corners as [number, number, number, number]);
  }

  cancel(): void {
    this.corner = null;
    this.drawing = null;
    this.line = [];
    this.marks.hideBand();
    this.marks.showLine([]);
    drawActive(this.app, this.app.state);
  }

  pan(by: Point): void {
    this.app.stage.pan(by);
  }

  zoom(at: Point, factor: number): void {
    this.app.stage.zoom(at, factor);
  }

  stroke(points: readonly Point[], _: Modifiers, finished: boolean): void {
    const { app, marks } = this;
    if (!app.state.photo) return;
    const there = points.map((at) => app.stage.toPhoto(at));
    marks.showBrush(points[points.length - 1]);
    if (app.state.tool === "cut") {
      this.line.push(...there);
      marks.showLine(this.line.map((at) => app.stage.toStage(at)));
      if (!finished) return;
      marks.showLine([]);
      const line = this.line;
      this.line = [];
      return cutAlong(app, line);
    }
    this.drawing ??= new Stroke(app, app.state.tool === "erase");
    this.drawing.to(there);
    if (!finished) return;
    this.drawing.finish();
    this.drawing = null;
  }

  // The keyboard's cursor.

  /** Arrow keys: whether the key was one. */
  move(event: KeyboardEvent): boolean {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { stage } = this.app;
    if (!direction || !stage.photoSize) return false;
    const step = event.shiftKey ? STEP.fine : event.ctrlKey || event.metaKey ? STEP.far : STEP.usual;
    const photo = stage.photoSize;
    const from = this.cursor() ?? { x: photo.width / 2, y: photo.height / 2 };
    const by = step / stage.viewport.scale;
    this.marks.cursor = {
      x: Math.min(photo.width, Math.max(0, from.x + direction[0] * by)),
      y: Math.min(photo.height, Math.max(0, from.y + direction[1] * by)),
    };
    this.marks.update();
    if (this.corner) this.marks.showBand(stage.toStage(this.corner), stage.toStage(this.marks.cursor));
    else if (this.app.state.tool === "segment") this.preview(this.marks.cursor, event.altKey, false);
    return true;
  }

  /** A point at the cursor, or under the pointer. */
  pointHere(negative: boolean, fresh: boolean): void {
    const { app } = this;
    const at = this.cursor();
    if (!at || !app.state.photo) return app.tell("Move the cursor with the arrow keys first.");
    if (app.state.everything) return everything.pick(app, at);
    if (app.state.tool !== "segment") app.store.set({ tool: "segment" });
    this.place(at, negative, fresh);
  }

  cornerHere(): void {
    const { app, marks } = this;
    const at = this.cursor();
    if (!at || !app.state.photo) return app.tell("Move the cursor with the arrow keys first.");
    if (!this.corner) {
      this.corner = at;
      app.tell("Now the other corner: move the cursor, then W.");
      return;
    }
    const corners = ordered(this.corner, at).map((value) => Math.round(value));
    this.corner = null;
    marks.hideBand();
    void box(app, corners as [number, number, number, number]);
  }

  get spanning(): boolean {
    return this.corner !== null;
  }

  private cursor(): Point | null {
    if (this.marks.cursor) return this.marks.cursor;
    if (!this.at) return null;
    const at = this.app.stage.toPhoto(this.at);
    return inside(at, this.app.size) ? at : null;
  }

  private preview(at: Point, negative: boolean, fresh: boolean): void {
    preview(this.app, { at, negative: negative || this.app.state.negative, fresh });
  }

  private place(at: Point, negative: boolean, fresh: boolean): void {
    void point(this.app, { at, negative, fresh }).then(() => {
      if (this.app.active) firstHint(this.app);
    });
  }
}
