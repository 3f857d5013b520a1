// Answers for tests/browser/test_masks.py: one call of the page's mask code a line of JSON.
// node masks.mjs BUNDLE, where the bundle is that code as one module.
import { createInterface } from "node:readline";

const code = await import(process.argv[2]);
const region = ({ size: [height, width], counts }) => code.fromCounts(counts, { height, width });

const calls = {
  upsample: ({ logits, side, imageSize, inputSize, size, threshold }) =>
    code.upsample(Float32Array.from(logits), side, { imageSize, inputSize }, size, threshold),
  combine: ({ a, b, operation }) => code.combine(region(a), region(b), operation),
  capsule: ({ from, to, radius, size: [height, width] }) => code.capsule(from, to, radius, { height, width }),
  components: ({ a }) => code.components(region(a)),
  tidied: ({ a, smallest }) => code.tidied(region(a), smallest),
  cut: ({ a, line }) => code.cut(region(a), line, { height: a.size[0], width: a.size[1] }),
  coco: ({ a }) => code.decodeCoco(code.encodeCoco(region(a), { height: a.size[0], width: a.size[1] })),
  cocoText: ({ a }) => code.encodeCoco(region(a), { height: a.size[0], width: a.size[1] }).counts,
  resized: ({ pixels, part, wanted, size: [height, width] }) => bytes(code.resized(source(pixels, height, width), part, wanted)),
  inputShape: ({ spec, size }) => bytes(Int32Array.from(code.inputShape(size, spec))),
  maskInput: ({ a, to, side, size: [height, width] }) => bytes(code.maskInput(code.encodeCoco(region(a), { height, width }), to, side)),
};

/** RGB as the browser gives it, with alpha. */
function source(pixels, height, width) {
  const rgb = Buffer.from(pixels, "base64");
  const rgba = new Uint8Array(4 * height * width).fill(255);
  for (let i = 0; i < height * width; i++) rgba.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  return { width, height, rows: (top, count) => rgba.subarray(4 * width * top, 4 * width * (top + count)) };
}

const DTYPES = { Uint8Array: "u1", Int32Array: "<i4", Float32Array: "<f4" };

function bytes(array) {
  const data = Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
  return { dtype: DTYPES[array.constructor.name], data };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, size, ...given } = JSON.parse(line);
  const answer = calls[call]({ ...given, size });
  const [height, width] = size;
  const counts = (its) => (its.rows ? code.toCounts(its, { height, width }) : its);
  console.log(JSON.stringify(Array.isArray(answer) ? answer.map(counts) : counts(answer)));
}
