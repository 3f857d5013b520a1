/**
 * The decoder's graph in two: what depends on the photo, and on a mask to start from, is run once, and
 * what depends on the points at every move. The operations are the same ones, in the same order.
 */
import { type Field, bytesField, fields, joined, numberField, texts } from "./protobuf";

/** Numbers of fields. Source: `onnx/onnx.proto`. */
const MODEL = { graph: 7 } as const;
const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;
const NODE = { input: 1, output: 2, attribute: 5 } as const;
const ATTRIBUTE = { graph: 6, graphs: 11 } as const;
const TENSOR = { name: 8 } as const;
const VALUE = { name: 1, type: 2 } as const;
const TYPE = { tensor: 1, element: 1 } as const;

/** `TensorProto.DataType`, by the names that onnxruntime-web has for them. */
const ELEMENTS: Readonly<Record<string, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };

export interface Split {
  /** Its outputs are what the other takes beside the points. */
  readonly photo: Uint8Array;
  /** The other graph, once it is known of what type those are. */
  readonly points: (types: ReadonlyMap<string, string>) => Uint8Array;
}

interface Node {
  readonly whole: Uint8Array;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * @param model an ONNX file whose weights are inside.
 * @param changing names of the inputs that are others at every move: the points.
 * @returns null where nothing can be had by it.
 */
export function split(model: Uint8Array, changing: ReadonlySet<string>): Split | null {
  const outside = [...fields(model)];
  const graph = outside.filter(({ number }) => number === MODEL.graph).flatMap(({ content }) => [...fields(content)]);
  const of = (number: number): Field[] => graph.filter((field) => field.number === number);
  const nodes = of(GRAPH.node).map(({ whole, content }) => ({
    whole,
    inputs: texts(content, NODE.input),
    outputs: texts(content, NODE.output),
    hasGraphs: hasGraphs(content),
  }));
  if (nodes.some(({ hasGraphs }) => hasGraphs)) return null;
  const inputs = named(of(GRAPH.input), VALUE.name);
  const outputs = named(of(GRAPH.output), VALUE.name);
  const initializers = named(of(GRAPH.initializer), TENSOR.name);

  // Nodes stand behind those that they need. What depends on no input is computed in either graph.
  const changes = new Set(changing);
  const still = new Set([...inputs.keys()].filter((name) => !changing.has(name)));
  const across = new Set<string>();
  for (const node of nodes) {
    if (node.inputs.some((name) => changes.has(name))) {
      for (const name of node.outputs) changes.add(name);
      for (const name of node.inputs) if (still.has(name)) across.add(name);
    } else if (node.inputs.some((name) => still.has(name))) {
      for (const name of node.outputs) still.add(name);
    }
  }
  const made = [...across].filter((name) => !inputs.has(name));
  if (made.length === 0 || [...outputs.keys()].some((name) => !changes.has(name))) return null;

  const file = (ends: readonly string[], given: ReadonlySet<string>, rest: readonly Uint8Array[]): Uint8Array => {
    const needed = new Set(ends);
    const kept: Node[] = [];
    for (const node of [...nodes].reverse()) {
      if (!node.outputs.some((name) => needed.has(name) && !given.has(name))) continue;
      for (const name of node.inputs) needed.add(name);
      kept.push(node);
    }
    const content = [
      ...kept.reverse().map(({ whole }) => whole),
      bytesField(GRAPH.name, "decoder"),
      ...[...initializers].filter(([name]) => needed.has(name)).map(([, whole]) => whole),
      ...[...inputs].filter(([name]) => needed.has(name)).map(([, whole]) => whole),
      ...rest,
    ];
    const others = outside.filter(({ number }) => number !== MODEL.graph).map(({ whole }) => whole);
    return joined([...others, bytesField(MODEL.graph, joined(content))]);
  };
  return {
    photo: file(made, new Set(), made.map((name) => bytesField(GRAPH.output, bytesField(VALUE.name, name)))),
    points: (types) =>
      file([...outputs.keys()], across, [
        ...made.map((name) => bytesField(GRAPH.input, typed(name, types.get(name)))),
        ...outputs.values(),
      ]),
  };
}

function hasGraphs(node: Uint8Array): boolean {
  return [...fields(node)].some(
    ({ number, content }) =>
      number === NODE.attribute &&
      [...fields(content)].some((its) => its.number === ATTRIBUTE.graph || its.number === ATTRIBUTE.graphs),
  );
}

/** Whole fields by the name that each has. */
function named(those: readonly Field[], number: number): Map<string, Uint8Array> {
  return new Map(those.map(({ whole, content }) => [texts(content, number)[0], whole]));
}

/** A value of any shape. */
function typed(name: string, type: string | undefined): Uint8Array {
  const element = ELEMENTS[type ?? ""];
  if (!element) throw new Error(`${name} in the decoder's graph is of type ${type}, which has no number here`);
  const tensor = bytesField(TYPE.tensor, numberField(TYPE.element, element));
  return joined([bytesField(VALUE.name, name), bytesField(VALUE.type, tensor)]);
}
