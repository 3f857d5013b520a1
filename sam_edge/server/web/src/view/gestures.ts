/** Mouse, pen and touch as what they mean: point, box, stroke, pan, zoom. */
import type { Point } from "./viewport";

export interface Modifiers {
  /** Right button, Alt, or a long touch: not this. */
  readonly negative: boolean;
  readonly shift: boolean;
  readonly control: boolean;
}

export interface Meaning {
  /** Whether dragging draws (brush, knife) or spans a box. */
  drag(): "box" | "stroke" | "pan";
  hover(at: Point, modifiers: Modifiers): void;
  leave(): void;
  click(at: Point, modifiers: Modifiers): void;
  box(from: Point, to: Point, finished: boolean): void;
  stroke(points: readonly Point[], modifiers: Modifiers, finished: boolean): void;
  /** What was begun is not meant: a second finger came, or Escape. */
  cancel(): void;
  pan(by: Point): void;
  zoom(at: Point, factor: number): void;
}

const DRAG_FROM = 4;
const LONG_TOUCH_MS = 500;

export class Gestures {
  private readonly down = new Map<number, Point>();
  private start: Point | null = null;
  private startModifiers: Modifiers = { negative: false, shift: false, control: false };
  private mode: "none" | "undecided" | "box" | "stroke" | "pan" | "pinch" | "done" = "none";
  private space = false;
  private longTouch: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly element: HTMLElement,
    private readonly meaning: Meaning,
  ) {
    element.addEventListener("pointerdown", (event) => this.pressed(event));
    element.addEventListener("pointermove", (event) => this.moved(event));
    element.addEventListener("pointerup", (event) => this.released(event));
    element.addEventListener("pointercancel", (event) => {
      this.down.delete(event.pointerId);
      this.cancel();
    });
    element.addEventListener("pointerleave", () => {
      if (this.mode === "none") meaning.leave();
    });
    // 10 ms sooner than pointermove, which waits for the frame; where there is none, that does it.
    element.addEventListener("pointerrawupdate", (event) => {
      if (this.mode === "none" && !this.space) this.hover(event as PointerEvent);
    });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** Space is held: dragging moves the photo, whatever the tool. */
  set panning(held: boolean) {
    this.space = held;
    this.element.classList.toggle("panning", held);
  }

  cancel(): void {
    clearTimeout(this.longTouch);
    if (this.mode === "box" || this.mode === "stroke") this.meaning.cancel();
    this.mode = this.down.size ? "done" : "none";
  }

  private at(event: PointerEvent | WheelEvent): Point {
    const { left, top } = this.element.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  private hover(event: PointerEvent): void {
    if (event.pointerType === "touch") return;
    this.meaning.hover(this.at(event), modifiersOf(event));
  }

  private pressed(event: PointerEvent): void {
    if ((event.target as Element).closest("button")) return; // a point: it has its own click
    this.element.focus({ preventScroll: true });
    const at = this.at(event);
    this.down.set(event.pointerId, at);
    this.element.setPointerCapture(event.pointerId);
    if (this.down.size > 1) {
      clearTimeout(this.longTouch);
      if (this.mode === "box" || this.mode === "stroke") this.meaning.cancel();
      this.mode = "pinch";
      return;
    }
    this.start = at;
    this.startModifiers = modifiersOf(event);
    if (event.button === 1 || this.space) {
      this.mode = "pan";
      event.preventDefault();
      return;
    }
    this.mode = "undecided";
    if (event.button === 0 && this.meaning.drag() === "stroke") {
      this.mode = "stroke";
      this.meaning.stroke([at], this.startModifiers, false);
    } else if (event.pointerType === "touch") {
      this.longTouch = setTimeout(() => {
        if (this.mode !== "undecided") return;
        this.mode = "done";
        navigator.vibrate?.(15);
        this.meaning.click(at, { negative: true, shift: false, control: false });
      }, LONG_TOUCH_MS);
    }
  }

  private moved(event: PointerEvent): void {
    const before = this.down.get(event.pointerId);
    if (!before) {
      if (!("onpointerrawupdate" in window) && this.mode === "none") this.hover(event);
      return;
    }
    const at = this.at(event);
    if (this.mode === "pinch") this.pinch(event.pointerId, before, at);
    this.down.set(event.pointerId, at);
    if (this.mode === "pan") this.meaning.pan({ x: at.x - before.x, y: at.y - before.y });
    if (this.mode === "undecided" && this.start && event.buttons & 1) {
      if (Math.hypot(at.x - this.start.x, at.y - this.start.y) < DRAG_FROM) return;
      clearTimeout(this.longTouch);
      this.mode = this.meaning.drag() === "pan" ? "pan" : "box";
    }
    if (this.mode === "box") this.meaning.box(this.start!, at, false);
    if (this.mode === "stroke") {
      const points = event.getCoalescedEvents?.().map((step) => this.at(step)) ?? [];
      this.meaning.stroke(points.length ? points : [at], this.startModifiers, false);
    }
  }

  private released(event: PointerEvent): void {
    if (!this.down.delete(event.pointerId)) return;
    clearTimeout(this.longTouch);
    const at = this.at(event);
    const { mode } = this;
    this.mode = this.down.size ? "done" : "none";
    if (mode === "undecided") this.meaning.click(at, this.startModifiers);
    if (mode === "box") this.meaning.box(this.start!, at, true);
    if (mode === "stroke") this.meaning.stroke([at], this.startModifiers, true);
  }

  /** Two fingers: the photo's points stay under them. */
  private pinch(id: number, before: Point, at: Point): void {
    const other = [...this.down].find(([key]) => key !== id)?.[1];
    if (!other) return;
    const apart = (point: Point): number => Math.hypot(point.x - other.x, point.y - other.y);
    const middle = { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 };
    this.meaning.pan({ x: (at.x - before.x) / 2, y: (at.y - before.y) / 2 });
    if (apart(before) > 8) this.meaning.zoom(middle, apart(at) / apart(before));
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (event.shiftKey) {
      this.meaning.pan({ x: -(event.deltaX || event.deltaY) * unit, y: 0 });
    } else {
      // A touchpad's pinch comes as a wheel with Ctrl, in smaller steps.
      const speed = event.ctrlKey ? 0.01 : 0.0018;
      this.meaning.zoom(this.at(event), Math.exp(-event.deltaY * unit * speed));
    }
  }
}

function modifiersOf(event: PointerEvent): Modifiers {
  return {
    negative: event.altKey || event.button === 2,
    shift: event.shiftKey,
    control: event.ctrlKey || event.metaKey,
  };
}
