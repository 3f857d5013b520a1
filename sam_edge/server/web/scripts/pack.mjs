// node pack.mjs FOLDER: leave the WebAssembly as `.gz` only, as the wheel carries it and the server serves it.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const assets = join(process.argv[2], "assets");
for (const name of readdirSync(assets)) {
  if (!name.endsWith(".wasm")) continue;
  const path = join(assets, name);
  const packed = gzipSync(readFileSync(path), { level: 9 });
  packed[9] = 255; // the operating system's number would make the bytes differ between machines
  writeFileSync(`${path}.gz`, packed);
  rmSync(path);
}
