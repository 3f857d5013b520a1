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
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, size, ...given } = JSON.parse(line);
  const answer = calls[call]({ ...given, size });
  const [height, width] = size;
  const counts = (its) => (its.rows ? code.toCounts(its, { height, width }) : its);
  console.log(JSON.stringify(Array.isArray(answer) ? answer.map(counts) : counts(answer)));
}
