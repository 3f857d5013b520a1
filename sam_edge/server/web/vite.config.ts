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
    rollupOptions: {
      // One page, with a server behind it or a folder; the service worker is the folder's.
      input: ["index.html", "folder.html", "src/folder/service_worker.ts"],
      output: {
        // Its scope is where it lies, and its address must stay the same.
        entryFileNames: ({ name }) => (name === "service_worker" ? "[name].js" : "assets/[name]-[hash].js"),
      },
    },
  },
  worker: { format: "es" },
});
