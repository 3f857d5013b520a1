/** The photo and what lies over it: finished masks, the one being worked on, the preview, points. */
import type { Region } from "../mask/region";
import { boxOf } from "../mask/region";
import type { Size } from "../mask/rle";
import { h } from "./dom";
import { type Look, type Placement, paint } from "./paint";
import { type Point, type Viewport, fitted, panned, toPhoto, toStage, zoomed } from "./viewport";

/** A mask to show; `scale` is its pixels a photo pixel. */
export interface Shown {
  readonly region: Region;
  readonly look: Look;
  readonly scale?: number;
}

/** If all masks take longer than this to paint, moving the photo moves their picture instead. */
const SLOW_PAINT_MS = 12;
const REST_MS = 90;

export class Stage {
  readonly element: HTMLElement;
  readonly marks: HTMLElement;
  private readonly picture = h("img", { alt: "", draggable: "false", class: "picture" });
  private readonly finished = new Layer("finished");
  private readonly working = new Layer("working");
  private readonly preview = new Layer("preview");
  private photo: Size | null = null;
  private size: Size = { width: 1, height: 1 };
  private view: Viewport = { scale: 1, x: 0, y: 0 };
  private fits = true;
  private items: readonly Shown[] = [];
  private active: Shown | null = null;
  private hover: Shown | null = null;
  private frame = 0;
  private rest: ReturnType<typeof setTimeout> | undefined;

  /** Called when the photo lies elsewhere. */
  onView: (view: Viewport) => void = () => {};

  constructor() {
    this.marks = h("div", { class: "marks" });
    this.element = h(
      "div",
      {
        class: "stage",
        tabindex: "0",
        role: "application",
        "aria-label": "Photo. Arrow keys move a cursor, A adds a point, D says not this, ? lists all keys.",
      },
      this.picture,
      this.finished.canvas,
      this.working.canvas,
      this.preview.canvas,
      this.marks,
    );
    new ResizeObserver(() => this.resized()).observe(this.element);
  }

  get viewport(): Viewport {
    return this.view;
  }

  get photoSize(): Size | null {
    return this.photo;
  }

  get stageSize(): Size {
    return this.size;
  }

  /** Mask pixels a photo pixel that the screen can show; never more than the photo has. */
  get displayScale(): number {
    return Math.min(1, this.view.scale * devicePixelRatio);
  }

  async show(url: string, photo: Size): Promise<void> {
    this.picture.src = url;
    this.photo = photo;
    this.hover = null;
    this.fit();
    await this.picture.decode().catch(() => undefined);
  }

  clear(): void {
    this.picture.removeAttribute("src");
    this.photo = null;
    this.items = [];
    this.active = this.hover = null;
    this.repaint();
  }

  fit(): void {
    if (!this.photo) return;
    this.fits = true;
    this.moveTo(fitted(this.photo, this.size));
  }

  zoom(at: Point, factor: number): void {
    if (!this.photo) return;
    this.fits = false;
    this.moveTo(zoomed(this.view, at, factor, this.photo, this.size));
  }

  pan(by: Point): void {
    if (!this.photo) return;
    this.fits = false;
    this.moveTo(panned(this.view, by, this.photo, this.size));
  }

  toPhoto(at: Point): Point {
    return toPhoto(this.view, at);
  }

  toStage(at: Point): Point {
    return toStage(this.view, at);
  }

  /** The part of the photo that is in the window, in whole pixels; null if that is nearly all. */
  get visiblePart(): readonly [number, number, number, number] | null {
    if (!this.photo) return null;
    const first = this.toPhoto({ x: 0, y: 0 });
    const last = this.toPhoto({ x: this.size.width, y: this.size.height });
    const x0 = Math.max(0, Math.floor(first.x));
    const y0 = Math.max(0, Math.floor(first.y));
    const x1 = Math.min(this.photo.width, Math.ceil(last.x));
    const y1 = Math.min(this.photo.height, Math.ceil(last.y));
    const share = ((x1 - x0) * (y1 - y0)) / (this.photo.width * this.photo.height);
    return share > 0 && share < 0.5 ? [x0, y0, x1, y1] : null;
  }

  setItems(items: readonly Shown[]): void {
    this.items = items;
    this.later();
  }

  setActive(active: Shown | null): void {
    this.active = active;
    this.working.draw(active ? [active] : [], this.placement, this.size);
  }

  /** Drawn at once: waiting for the next frame would cost up to 16 ms of every move. */
  setHover(hover: Shown | null): void {
    if (!hover && !this.hover) return;
    this.hover = hover;
    this.preview.draw(hover ? [hover] : [], this.placement, this.size);
  }

  private get placement(): Placement {
    const ratio = devicePixelRatio;
    return { scale: this.view.scale * ratio, x: this.view.x * ratio, y: this.view.y * ratio };
  }

  private moveTo(view: Viewport): void {
    this.view = view;
    this.later();
    this.onView(view);
  }

  private later(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.repaint();
    });
  }

  private repaint(): void {
    const { view, placement, size } = this;
    if (this.photo) {
      this.picture.style.width = `${this.photo.width}px`;
      this.picture.style.height = `${this.photo.height}px`;
    }
    this.picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    this.picture.style.imageRendering = view.scale * devicePixelRatio >= 3 ? "pixelated" : "auto";
    this.working.draw(this.active ? [this.active] : [], placement, size);
    this.preview.draw(this.hover ? [this.hover] : [], placement, size);
    clearTimeout(this.rest);
    if (this.finished.lastPaintMs > SLOW_PAINT_MS && this.finished.move(placement)) {
      this.rest = setTimeout(() => this.finished.draw(this.items, this.placement, this.size), REST_MS);
    } else {
      this.finished.draw(this.items, placement, size);
    }
  }

  private resized(): void {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const by = { x: (width - this.size.width) / 2, y: (height - this.size.height) / 2 };
    this.size = { width, height };
    if (!this.photo) return this.repaint();
    this.moveTo(this.fits ? fitted(this.photo, this.size) : panned(this.view, by, this.photo, this.size));
  }
}

/** A canvas as large as the stage, of which only what changed is painted. */
class Layer {
  readonly canvas: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private painted: { x: number; y: number; width: number; height: number } | null = null;
  private drawnAt: Placement | null = null;
  private items: readonly Shown[] = [];
  lastPaintMs = 0;

  constructor(name: string) {
    this.canvas = h("canvas", { class: `layer ${name}`, "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d")!;
  }

  draw(items: readonly Shown[], at: Placement, size: Size): void {
    const started = performance.now();
    const width = Math.round(size.width * devicePixelRatio);
    const height = Math.round(size.height * devicePixelRatio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.painted = null;
    }
    this.canvas.style.transform = "";
    this.drawnAt = at;
    this.items = items;
    if (this.painted) {
      const { x, y, width: w, height: tall } = this.painted;
      this.context.clearRect(x, y, w, tall);
      this.painted = null;
    }
    const window = visible(items, at, width, height);
    if (window) {
      const image = new ImageData(window.width, window.height);
      const raster = { pixels: new Uint32Array(image.data.buffer), ...window };
      for (const { region, look, scale = 1 } of items) {
        const place = { scale: at.scale / scale, x: at.x - window.x, y: at.y - window.y };
        paint(raster, region, place, look);
      }
      this.context.putImageData(image, window.x, window.y);
      this.painted = window;
    }
    this.lastPaintMs = performance.now() - started;
  }

  /** Move what is painted instead of painting it anew; false if there is nothing to move. */
  move(to: Placement): boolean {
    const from = this.drawnAt;
    if (!from || !this.painted || this.items.length === 0) return false;
    const scale = to.scale / from.scale;
    const ratio = devicePixelRatio;
    const x = (to.x - from.x * scale) / ratio;
    const y = (to.y - from.y * scale) / ratio;
    this.canvas.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    return true;
  }
}

/** The rectangle of the canvas that some masks lie in. */
function visible(
  items: readonly Shown[],
  at: Placement,
  width: number,
  height: number,
): { x: number; y: number; width: number; height: number } | null {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { region, scale = 1 } of items) {
    const box = boxOf(region);
    if (!box) continue;
    const k = at.scale / scale;
    x0 = Math.min(x0, box.x0 * k + at.x);
    y0 = Math.min(y0, box.y0 * k + at.y);
    x1 = Math.max(x1, box.x1 * k + at.x);
    y1 = Math.max(y1, box.y1 * k + at.y);
  }
  const left = Math.max(0, Math.floor(x0) - 2);
  const top = Math.max(0, Math.floor(y0) - 2);
  const right = Math.min(width, Math.ceil(x1) + 2);
  const bottom = Math.min(height, Math.ceil(y1) + 2);
  if (right <= left || bottom <= top) return null;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
