/** One of onnxruntime-web's threads; see `thread_worker.ts`. */
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import { LISTENING } from "./thread_worker";

await import(/* @vite-ignore */ new URL(mjs, self.location.href).href);
self.postMessage(LISTENING);
