/** Where the photo lies in the window: pure arithmetic. */
import type { Size } from "../mask/rle";

/** CSS pixels a photo pixel, and where the photo's top left corner is, in CSS pixels. */
export interface Viewport {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

const MARGIN = 16;
/** The bar over the lower edge covers nothing that could be clicked on. */
const BELOW = 64;
const MOST = 40;

export function fitted(photo: Size, stage: Size): Viewport {
  const room = { width: stage.width - 2 * MARGIN, height: stage.height - MARGIN - BELOW };
  const scale = Math.max(0.01, Math.min(room.width / photo.width, room.height / photo.height));
  return {
    scale,
    x: (stage.width - photo.width * scale) / 2,
    y: Math.max(MARGIN, (stage.height - BELOW + MARGIN - photo.height * scale) / 2),
  };
}

export function zoomed(view: Viewport, at: Point, factor: number, photo: Size, stage: Size): Viewport {
  const least = Math.min(1, fitted(photo, stage).scale) / 2;
  const scale = Math.min(MOST, Math.max(least, view.scale * factor));
  const grown = scale / view.scale;
  return held({ scale, x: at.x - (at.x - view.x) * grown, y: at.y - (at.y - view.y) * grown }, photo, stage);
}

export function panned(view: Viewport, by: Point, photo: Size, stage: Size): Viewport {
  return held({ ...view, x: view.x + by.x, y: view.y + by.y }, photo, stage);
}

/** Some of the photo always stays in the window. */
function held(view: Viewport, photo: Size, stage: Size): Viewport {
  const keep = 80;
  const hold = (at: number, length: number, room: number): number =>
    Math.min(room - keep, Math.max(keep - length, at));
  return {
    scale: view.scale,
    x: hold(view.x, photo.width * view.scale, stage.width),
    y: hold(view.y, photo.height * view.scale, stage.height),
  };
}

export function toPhoto(view: Viewport, at: Point): Point {
  return { x: (at.x - view.x) / view.scale, y: (at.y - view.y) / view.scale };
}

export function toStage(view: Viewport, at: Point): Point {
  return { x: at.x * view.scale + view.x, y: at.y * view.scale + view.y };
}

export function inside(at: Point, photo: Size): boolean {
  return at.x >= 0 && at.y >= 0 && at.x <= photo.width && at.y <= photo.height;
}
