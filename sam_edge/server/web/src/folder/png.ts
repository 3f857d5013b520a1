/** PNG files of masks: 8-bit grey, 8-bit with a palette, and 16-bit grey. */
import type { Rgb } from "../state/colours";
import { crc32 } from "./zip";

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** One byte a pixel, or two. */
  readonly pixels: Uint8Array | Uint16Array;
  /** Without one, pixels are shades of grey. */
  readonly palette: readonly Rgb[] | null;
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const GREY = 0;
const INDEXED = 3;

export async function png({ width, height, pixels, palette }: Picture): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = pixels.BYTES_PER_ELEMENT;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8 * bytes);
  header.setUint8(9, palette ? INDEXED : GREY);
  const rows = new Uint8Array((1 + bytes * width) * height);
  for (let y = 0, at = 0; y < height; y++) {
    at++; // no filter
    for (let x = 0; x < width; x++) {
      const value = pixels[y * width + x];
      if (bytes === 2) rows[at++] = value >> 8;
      rows[at++] = value & 255;
    }
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const parts = [SIGNATURE, chunk("IHDR", new Uint8Array(header.buffer))];
  if (palette) parts.push(chunk("PLTE", Uint8Array.from(palette.flat())));
  parts.push(chunk("IDAT", data), chunk("IEND", new Uint8Array(0)));
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function chunk(kind: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(12 + data.length);
  const view = new DataView(result.buffer);
  view.setUint32(0, data.length);
  result.set(new TextEncoder().encode(kind), 4);
  result.set(data, 8);
  view.setUint32(8 + data.length, crc32(result.subarray(4, 8 + data.length)));
  return result;
}
