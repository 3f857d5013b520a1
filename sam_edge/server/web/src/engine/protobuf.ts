/** Protocol buffers as far as an ONNX file needs them: fields read where they lie, and written. */

export interface Field {
  readonly number: number;
  /** 0 a number, 1 and 5 eight and four bytes, 2 bytes that have a length. */
  readonly kind: number;
  /** The content of a field of kind 2. */
  readonly content: Uint8Array;
  /** All of it, with its number and its length. */
  readonly whole: Uint8Array;
}

const text = new TextDecoder();

/** The fields of a message, in their order. */
export function* fields(message: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (at >= message.length) throw new Error("this is no ONNX file: it ends within a number");
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const begin = at;
    const tag = varint();
    const kind = tag % 8;
    let from = at;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      from = at;
      at += length;
    } else throw new Error(`this is no ONNX file: a field of kind ${kind}`);
    if (at > message.length) throw new Error("this is no ONNX file: it ends within a field");
    yield {
      number: Math.floor(tag / 8),
      kind,
      content: message.subarray(from, at),
      whole: message.subarray(begin, at),
    };
  }
}

/** The texts of a message's fields of a number. */
export function texts(message: Uint8Array, number: number): string[] {
  return [...fields(message)].filter((field) => field.number === number).map(({ content }) => text.decode(content));
}

/** A field of bytes, a text or another message. */
export function bytesField(number: number, content: Uint8Array | string): Uint8Array {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return joined([varintOf(number * 8 + 2), varintOf(bytes.length), bytes]);
}

export function numberField(number: number, value: number): Uint8Array {
  return joined([varintOf(number * 8), varintOf(value)]);
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function varintOf(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Uint8Array.of(...bytes, value);
}
