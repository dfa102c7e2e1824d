import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// Nothing that is drawn leaves the page, and the browser is told to hold it to that. (Not in `vite dev`, whose client
// brings inline styles and a socket of its own.) onnxruntime compiles WebAssembly, hence 'wasm-unsafe-eval'.
const policy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: {
        "http-equiv": "Content-Security-Policy",
        content:
          "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'",
      },
      injectTo: "head-prepend",
    },
  ],
};

export default defineConfig({
  base: "./", // runs from whatever folder it is put in
  plugins: [policy],
  optimizeDeps: { exclude: ["onnxruntime-web"] }, // it finds its .wasm beside itself
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
  },
  // One browser at a time, which may be slow to start.
  test: { fileParallelism: false, testTimeout: 60_000, hookTimeout: 60_000 },
});
