import { createHash } from "node:crypto";

import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// Nothing that is drawn leaves the page, and the browser is told to hold it to that. (Not in `vite dev`, whose client
// brings inline styles and a socket of its own.) onnxruntime compiles WebAssembly, hence 'wasm-unsafe-eval'. The one
// inline script speaks when the page was opened from disk, where browsers load no modules.
const policy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: {
    order: "post",
    handler: (html) => {
      const inline = [...html.matchAll(/<script>(.*?)<\/script>/gs)].map(
        ([, text]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`,
      );
      const scripts = ["'self'", "'wasm-unsafe-eval'", ...inline].join(" ");
      const content = `default-src 'self'; script-src ${scripts}; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'`;
      return {
        html: html.replaceAll(" crossorigin", ""), // all files are beside the page; from disk, it would lose its style
        tags: [{ tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content }, injectTo: "head-prepend" }],
      };
    },
  },
};

export default defineConfig({
  base: "./", // runs from whatever folder it is put in
  plugins: [policy],
  worker: { format: "es" },
  optimizeDeps: { exclude: ["onnxruntime-web"] }, // it finds its .wasm beside itself
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
  },
  // One browser at a time, which may be slow to start.
  test: { fileParallelism: false, testTimeout: 60_000, hookTimeout: 60_000 },
});
