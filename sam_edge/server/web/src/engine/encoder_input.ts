/** From a photo's file to the encoder's input, as `sam_edge.image.preprocess` makes it, to the bit. */
import type { Corners, ImageSpec, Pair } from "../api/types";
import { resized } from "./resize";
import { withPixels } from "./pixels";

/** A frame's sides are multiples of it; `sam_edge.spec.FRAME_STEP`. */
const FRAME_STEP = 64;

export interface EncoderInput {
  readonly pixels: Float32Array;
  readonly shape: readonly [1, 3, number, number];
  readonly photo_size: Pair;
  readonly part: Corners;
  readonly size: Pair;
  readonly input_size: Pair;
}

/** @param part null for all of the photo. */
export async function encoderInput(
  photo: Blob,
  part: Corners | null,
  spec: ImageSpec,
): Promise<EncoderInput> {
  return withPixels(photo, (source) => {
    const whole: Corners = [0, 0, source.width, source.height];
    const [x0, y0, x1, y1] = part ?? whole;
    const size: Pair = [y1 - y0, x1 - x0];
    const inside = inputShape(size, spec);
    const pixels = resized(source, part ?? whole, inside);
    const frame = frameShape(inside, spec);
    return {
      pixels: normalised(pixels, inside, frame, spec),
      shape: [1, 3, ...frame],
      photo_size: [source.height, source.width],
      part: part ?? whole,
      size,
      input_size: inside,
    };
  });
}

/** Height and width that a photo has inside the encoder's frame; halves round up. */
export function inputShape([height, width]: Pair, { size, resize }: ImageSpec): Pair {
  if (resize === "stretch") return [size, size];
  const scale = size / Math.max(height, width);
  const side = (length: number): number => Math.max(1, Math.trunc(length * scale + 0.5));
  return [side(height), side(width)];
}

/** What of the square is encoded. */
export function frameShape([height, width]: Pair, { size, frame }: ImageSpec): Pair {
  if (frame === "square") return [size, size];
  const side = (length: number): number =>
    FRAME_STEP * Math.ceil(Math.max(length, Math.floor(size / 4)) / FRAME_STEP);
  return [side(height), side(width)];
}

/** Subtract the mean, divide by the deviation; the rest of the frame is zero, the mean colour. */
function normalised(pixels: Uint8Array, [height, width]: Pair, frame: Pair, spec: ImageSpec): Float32Array {
  const result = new Float32Array(3 * frame[0] * frame[1]);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(spec.mean[channel]);
    const deviation = Math.fround(spec.std[channel]);
    const values = Float32Array.from({ length: 256 }, (_, value) => Math.fround(value - mean) / deviation);
    for (let y = 0; y < height; y++) {
      let from = 3 * y * width + channel;
      let to = (channel * frame[0] + y) * frame[1];
      for (let x = 0; x < width; x++, from += 3) result[to++] = values[pixels[from]];
    }
  }
  return result;
}
