/** Annotations as files, made in the page: those of `POST /v1/export` that it can make. */
import type { Download, Format } from "../api/backend";
import { ApiError } from "../api/errors";
import type { Annotations, Pair } from "../api/types";
import { type Region, area, columnCount } from "../mask/region";
import { decodeCoco } from "../mask/rle";
import { type Rgb, colour } from "../state/colours";
import { cocoDocument } from "./coco";
import { png } from "./png";
import { type NamedFile, zip } from "./zip";

export async function exported(format: Format, photos: readonly Annotations[]): Promise<Download> {
  const stems = distinctStems(photos.map(({ photo }) => photo.name));
  if (format === "coco") {
    const name = photos.length === 1 ? `${stems[0]}-everything.json` : "annotations.json";
    const text = `${JSON.stringify(cocoDocument(photos))}\n`;
    return { name, data: new Blob([text], { type: "application/json" }) };
  }
  const files: NamedFile[] = [];
  for (const [index, { photo, objects }] of photos.entries()) {
    const regions = objects.map(({ rle }) => decodeCoco(rle));
    const stem = stems[index];
    if (format === "png") files.push({ name: `${stem}-labels.png`, data: await labelMap(regions, photo.size) });
    else {
      for (const [number, region] of regions.entries()) {
        const which = regions.length > 1 ? `-${number}` : "";
        files.push({ name: `${stem}-mask${which}.png`, data: await whiteMask(region, photo.size) });
      }
    }
  }
  if (files.length === 0) throw new ApiError(400, "bad_request", "there is no mask to export");
  if (files.length > 1) return { name: `${format}.zip`, data: zip(files) };
  return { name: files[0].name, data: new Blob([files[0].data], { type: "image/png" }) };
}

function whiteMask(region: Region, [height, width]: Pair): Promise<Uint8Array<ArrayBuffer>> {
  const pixels = new Uint8Array(width * height);
  fill(region, width, pixels, 255);
  return png({ width, height, pixels, palette: null });
}

/** Each pixel says which object it belongs to; where they overlap the smaller one is seen. */
function labelMap(regions: readonly Region[], [height, width]: Pair): Promise<Uint8Array<ArrayBuffer>> {
  const many = regions.length > 255;
  const pixels = new (many ? Uint16Array : Uint8Array)(width * height);
  const order = regions.map((region, index) => ({ region, index, size: area(region) }));
  order.sort((a, b) => b.size - a.size);
  for (const { region, index } of order) fill(region, width, pixels, index + 1);
  const palette: Rgb[] | null = many ? null : [[0, 0, 0], ...regions.map((_, index) => colour(index))];
  return png({ width, height, pixels, palette });
}

function fill(region: Region, width: number, pixels: Uint8Array | Uint16Array, value: number): void {
  for (let column = 0; column < columnCount(region); column++) {
    const x = region.left + column;
    for (let j = region.start[column]; j < region.start[column + 1]; j++) {
      for (let y = region.rows[2 * j]; y < region.rows[2 * j + 1]; y++) pixels[y * width + x] = value;
    }
  }
}

/** Names without their suffix; whole, and numbered, where they would be alike. */
function distinctStems(names: readonly string[]): string[] {
  const stems = names.map((name) => name.replace(/(?<=.)\.[^.]*$/, ""));
  const count = (all: readonly string[], one: string): number =>
    all.filter((other) => other.toLowerCase() === one.toLowerCase()).length;
  const longer = stems.map((stem, index) => (count(stems, stem) > 1 ? names[index] : stem));
  return longer.map((name, index) => (count(longer, name) > 1 ? `${name}-${index}` : name));
}
