/** How masks look in each of their states. */
import type { Rgb } from "../state/colours";
import { type Look, pixel } from "./paint";

function line(): number {
  return Math.max(1, Math.round(1.5 * devicePixelRatio));
}

export function finishedLook([r, g, b]: Rgb, marked: boolean, done: boolean): Look {
  const edge = pixel(r, g, b, 255);
  const dash = marked ? pixel(255, 255, 255, 255) : edge;
  return { fill: pixel(r, g, b, done ? 56 : 92), edge, dash, line: line() };
}

export function activeLook([r, g, b]: Rgb): Look {
  const edge = pixel(255, 255, 255, 255);
  return { fill: pixel(r, g, b, 130), edge, dash: edge, line: Math.round(2 * devicePixelRatio) };
}

/** Not there yet: dashed, white and dark by turns, so that it is seen on any photo. */
export function previewLook([r, g, b]: Rgb): Look {
  return {
    fill: pixel(r, g, b, 84),
    edge: pixel(255, 255, 255, 255),
    dash: pixel(20, 22, 26, 255),
    line: line(),
  };
}
