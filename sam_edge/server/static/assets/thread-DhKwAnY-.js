var e=new URL(`ort-wasm-simd-threaded-qyIweqWS.mjs`,import.meta.url).href;self.location.href,await import(
/* @vite-ignore */
new URL(e,self.location.href).href),self.postMessage(`listening`);