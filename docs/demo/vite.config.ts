import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

import { en } from "./src/texts/en.ts";
import { ko } from "./src/texts/ko.ts";

const FROM_DISK = { en: en.said.fromDisk, ko: ko.said.fromDisk };
// Where the docs build puts the page, the manual is one folder up.
const MANUAL = process.env.MANUAL ?? "..";

// English stands in the page before any script runs, and once: in src/texts/en.ts.
const english: Plugin = {
  name: "english",
  transformIndexHtml: {
    order: "pre",
    handler: (html) => {
      const text = (key: string) => (en.page as Record<string, string>)[key] ?? missing(key);
      return html
        .replace(/data-text="(\w+)"([^>]*)>/g, (all, key) => all + text(key))
        .replace(/data-label="(\w+)"/g, (all, key) => `${all} aria-label="${text(key)}"`)
        .replace(/data-role="(\w+)"/g, (all, key) => `${all} aria-roledescription="${text(key)}"`)
        .replace("__FROM_DISK__", JSON.stringify(FROM_DISK))
        .replace("%MANUAL%", `${MANUAL}/index.html`)
        .replace("%WHY%", `${MANUAL}/why.html`);
    },
  },
};

function missing(key: string): never {
  throw new Error(`index.html asks for the text “${key}”, which src/texts/en.ts has not`);
}

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

// Servers compress text, but no .onnx.
const compressed: Plugin = {
  name: "compressed-networks",
  apply: "build",
  generateBundle: {
    order: "post",
    handler(_, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type === "asset" && file.fileName.endsWith(".onnx")) file.source = gzipSync(file.source, { level: 9 });
      }
    },
  },
};

const offline: Plugin = {
  name: "offline",
  apply: "build",
  generateBundle: {
    order: "post",
    handler(_, bundle) {
      const files = Object.values(bundle);
      const hash = createHash("sha256");
      for (const file of files) hash.update(file.fileName).update(file.type === "chunk" ? file.code : file.source);
      const source = readFileSync(new URL("service-worker.js", import.meta.url), "utf8")
        .replace("__FILES__", JSON.stringify(files.map(({ fileName }) => fileName).sort()))
        .replace("__VERSION__", JSON.stringify(hash.digest("hex").slice(0, 16)));
      this.emitFile({ type: "asset", fileName: "service-worker.js", source });
    },
  },
};

export default defineConfig({
  base: "./", // runs from whatever folder it is put in
  plugins: [english, policy, compressed, offline],
  worker: { format: "es" },
  optimizeDeps: { exclude: ["onnxruntime-web"] }, // it finds its .wasm beside itself
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false, // what is loaded later has one file each
  },
  // One browser at a time, which may be slow to start.
  test: {
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
  },
});
