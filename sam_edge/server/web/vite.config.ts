import { defineConfig } from "vite";

// Built twice from one lockfile, the page is the same to the byte; a test compares.
export default defineConfig({
  base: "./",
  // onnxruntime-web's other entry would start our own bundle again in each of its threads.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "import"] },
  build: {
    target: "es2022",
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the page's policy allows no data: but pictures
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: "es" },
});
