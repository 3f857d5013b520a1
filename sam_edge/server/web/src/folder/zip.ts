/** Several files as one. They are packed already (PNG), so they are stored as they are. */
export interface NamedFile {
  readonly name: string;
  readonly data: Uint8Array<ArrayBuffer>;
}

const UTF8_NAMES = 0x0800;
/** The first day that the format knows. */
const NO_DATE = 0x0021;

export function zip(files: readonly NamedFile[]): Blob {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const { name, data } of files) {
    const encoded = new TextEncoder().encode(name);
    const facts = [20, UTF8_NAMES, 0, 0, NO_DATE] as const;
    const sizes = [crc32(data), data.length, data.length] as const;
    const local = record(0x04034b50, [...facts], [...sizes], [encoded.length, 0], encoded);
    directory.push(
      record(0x02014b50, [20, ...facts], [...sizes], [encoded.length, 0, 0, 0, 0, 0, 0, lower(offset), upper(offset)], encoded),
    );
    parts.push(local, data);
    offset += local.length + data.length;
  }
  const length = directory.reduce((sum, entry) => sum + entry.length, 0);
  const end = record(0x06054b50, [0, 0, files.length, files.length], [length, offset], [0], new Uint8Array(0));
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

const lower = (value: number): number => value & 0xffff;
const upper = (value: number): number => value >>> 16;

/** A signature, 16-bit numbers, 32-bit numbers, 16-bit numbers, and a name. */
function record(
  signature: number,
  before: readonly number[],
  wide: readonly number[],
  after: readonly number[],
  name: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const head = 4 + 2 * before.length + 4 * wide.length + 2 * after.length;
  const result = new Uint8Array(head + name.length);
  const view = new DataView(result.buffer);
  view.setUint32(0, signature, true);
  let at = 4;
  for (const value of before) at = (view.setUint16(at, value, true), at + 2);
  for (const value of wide) at = (view.setUint32(at, value, true), at + 4);
  for (const value of after) at = (view.setUint16(at, value, true), at + 2);
  result.set(name, head);
  return result;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of data) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
