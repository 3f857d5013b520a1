/** Our decoder's graph on onnxruntime-web, its part that depends on the photo alone run once. */
import * as ort from "onnxruntime-web/wasm";
import { split } from "./split";

export type Tensors = Readonly<Record<string, ort.Tensor>>;

export interface OrtAnswer {
  readonly logits: Float32Array;
  readonly scores: Float32Array;
}

const POINTS: ReadonlySet<string> = new Set(["point_coords", "point_labels"]);

export class OwnDecoder {
  private features: Tensors = {};
  /** What the photo and a mask to start from give. */
  private held: { mask: Float32Array | null; tensors: Tensors } | null = null;

  /** @param photo null where the graph cannot be taken apart: then `points` is all of it. */
  private constructor(
    private readonly photo: ort.InferenceSession | null,
    private readonly points: ort.InferenceSession,
    private readonly side: number,
  ) {}

  /**
   * @param model an ONNX file.
   * @param side of its masks' logits.
   */
  static async open(model: Uint8Array, side: number, options: ort.InferenceSession.SessionOptions): Promise<OwnDecoder> {
    const parts = split(model, POINTS);
    if (!parts) return new OwnDecoder(null, await ort.InferenceSession.create(model, options), side);
    const photo = await ort.InferenceSession.create(parts.photo, options);
    const types = photo.outputMetadata.map((value) => [value.name, value.isTensor ? value.type : ""] as const);
    const points = await ort.InferenceSession.create(parts.points(new Map(types)), options);
    return new OwnDecoder(photo, points, side);
  }

  /** Decode for this photo from now on. */
  async look(features: Tensors): Promise<void> {
    this.features = features;
    this.held = null;
    await this.hold(null);
  }

  /**
   * @param coords of points, in the encoder's frame.
   * @param mask the low-resolution logits to start from.
   */
  async decode(coords: Float32Array, labels: Float32Array, mask: Float32Array | null): Promise<OrtAnswer> {
    const answer = await this.points.run({
      ...(await this.hold(mask)),
      point_coords: new ort.Tensor("float32", coords, [1, labels.length, 2]),
      point_labels: new ort.Tensor("float32", labels, [1, labels.length]),
    });
    return {
      logits: answer["low_res_masks"].data as Float32Array,
      scores: answer["iou_predictions"].data as Float32Array,
    };
  }

  private async hold(mask: Float32Array | null): Promise<Tensors> {
    if (this.held && same(this.held.mask, mask)) return this.held.tensors;
    const { side } = this;
    const inputs = {
      ...this.features,
      mask_input: new ort.Tensor("float32", mask ?? new Float32Array(side * side), [1, 1, side, side]),
      has_mask_input: new ort.Tensor("float32", Float32Array.of(mask ? 1 : 0), [1]),
    };
    const tensors = {
      ...taken(inputs, this.points),
      ...(this.photo && (await this.photo.run(taken(inputs, this.photo)))),
    };
    this.held = { mask, tensors };
    return tensors;
  }
}

function taken(tensors: Tensors, { inputNames }: ort.InferenceSession): Tensors {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => inputNames.includes(name)));
}

function same(one: Float32Array | null, other: Float32Array | null): boolean {
  if (!one || !other) return one === other;
  return one.length === other.length && one.every((value, index) => value === other[index]);
}
