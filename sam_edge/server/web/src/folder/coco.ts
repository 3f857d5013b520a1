/** COCO's instances as `sam_edge.formats.coco` and the server's export write them. */
import type { Annotations, WireObject } from "../api/types";
import { area, boxOf } from "../mask/region";
import { decodeCoco } from "../mask/rle";

/** One data set of all photos: numbers and categories are those of all of them. */
export function cocoDocument(photos: readonly Annotations[]): object {
  const labels = [...new Set(photos.flatMap(({ objects }) => objects.map(({ label }) => label)))].sort(byCodePoint);
  const numbers = new Map(labels.map((label, index) => [label, index + 1]));
  let count = 0;
  return {
    info: { description: "masks by sam-edge" },
    licenses: [],
    images: photos.map(({ photo: { name, size } }, index) => ({
      id: index + 1,
      width: size[1],
      height: size[0],
      file_name: name,
    })),
    annotations: photos.flatMap(({ objects }, index) =>
      objects.map((object) => ({
        id: ++count,
        image_id: index + 1,
        category_id: numbers.get(object.label)!,
        ...instance(object),
      })),
    ),
    categories: [...numbers].map(([name, id]) => ({ id, name, supercategory: "" })),
  };
}

function instance({ rle, score, stability }: WireObject): object {
  const region = decodeCoco(rle);
  const box = boxOf(region);
  // What a person drew scores 1: nobody doubts it.
  const predicted = score ?? 1;
  return {
    segmentation: rle,
    area: area(region),
    bbox: box ? [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0] : [0, 0, 0, 0],
    iscrowd: 0,
    score: predicted,
    predicted_iou: predicted,
    stability_score: stability ?? 1,
  };
}

function byCodePoint(a: string, b: string): number {
  const [mine, its] = [[...a], [...b]];
  for (let i = 0; i < Math.min(mine.length, its.length); i++) {
    const apart = mine[i].codePointAt(0)! - its[i].codePointAt(0)!;
    if (apart) return apart;
  }
  return mine.length - its.length;
}
