// Debian's Chromium with the built page on a server of its own, under a sub-path, as a docs site would have it.

import { createServer, type Server } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

import { chromium, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";

import type { AnswerDetail } from "../src/main";

const DIST = new URL("../dist/", import.meta.url).pathname;
const PREFIX = "/some/folder/demo/";
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".onnx": "application/octet-stream",
};

export class Site {
  /** Bytes of each answer, by path below the page's folder. */
  readonly sent = new Map<string, number>();

  private constructor(
    private readonly server: Server,
    private readonly context: BrowserContext,
    private readonly profile: string,
  ) {}

  static async open(options: BrowserContextOptions = {}): Promise<Site> {
    let site: Site;
    const server = createServer(async (request, response) => {
      const path = normalize(decodeURIComponent(new URL(request.url!, "http://localhost").pathname));
      const name = path.slice(PREFIX.length) || "index.html";
      try {
        if (!path.startsWith(PREFIX)) throw new Error("outside");
        const data = await readFile(join(DIST, name));
        site.sent.set(name, data.length);
        response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "text/plain" }).end(data);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const profile = await mkdtemp(join(tmpdir(), "lenet-demo-"));
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
      viewport: { width: 1280, height: 900 },
      reducedMotion: "reduce",
      locale: "en-GB",
      serviceWorkers: "block", // it fetches all files again; the test without a network lets it
      ...options,
    });
    site = new Site(server, context, profile);
    return site;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return this.origin + PREFIX;
  }

  /** A tab with the page in it, once the networks have answered for the first time and units can be pointed at. */
  async visit({ ready = true, prepare = async (_: Page): Promise<unknown> => undefined } = {}): Promise<Visit> {
    const page = await this.context.newPage();
    await prepare(page);
    const visit = new Visit(page, this.origin);
    await page.addInitScript(() => {
      const log: unknown[] = ((window as never as { answers: unknown[] }).answers = []);
      document.addEventListener("answer", (event) => log.push((event as CustomEvent).detail));
    });
    await page.goto(this.url);
    if (ready) await page.waitForSelector("body[data-state=digit][data-lessons=ready]");
    return visit;
  }

  /** From now on nothing answers, and the browser knows it. */
  async goOffline(): Promise<void> {
    await this.context.setOffline(true);
    this.server.closeAllConnections();
    this.server.close();
  }

  async close(): Promise<void> {
    await this.context.close();
    this.server.closeAllConnections();
    this.server.close();
    await rm(this.profile, { recursive: true, force: true });
  }
}

export interface Reading {
  pixels: number[] | null;
  atEdge: boolean;
  /** By architecture; `outputs` holds logits, probabilities and the layers' states, by name. */
  answers: Record<
    string,
    { label: number | null; best: number; confidence: number; none: number; outputs: Record<string, number[]> }
  >;
  latency: number;
}

export class Visit {
  /** What a page should not have: console messages above `info`, exceptions, requests to elsewhere. */
  readonly complaints: string[] = [];

  constructor(
    readonly page: Page,
    origin: string,
  ) {
    page.on("console", (message) => {
      if (message.text().startsWith("Service Worker registration blocked by Playwright")) return;
      if (["error", "warning"].includes(message.type())) this.complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`exception: ${error.message}`));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(origin) && !/^(data|blob):/.test(url)) this.complaints.push(`request: ${url}`);
    });
    page.on("response", (response) => {
      if (response.status() >= 400) this.complaints.push(`${response.status()}: ${response.url()}`);
    });
  }

  async count(): Promise<number> {
    return this.page.evaluate(() => (window as never as { answers: unknown[] }).answers.length);
  }

  /** Waits until the page has answered more than `before` times and rests; gives the last answer. */
  async reading(before = 0): Promise<Reading> {
    await this.page.waitForFunction((n) => (window as never as { answers: unknown[] }).answers.length > n, before);
    await this.page.waitForSelector("body:not([data-busy])");
    let count = 0;
    while (count !== (count = await this.count())) await this.page.waitForTimeout(100);
    return this.page.evaluate(() => {
      const { pixels, atEdge, answers, latency } = (window as never as { answers: AnswerDetail[] }).answers.at(-1)!;
      const plain = Object.entries(answers).map(
        ([name, { label, best, confidence, none, logits, probabilities, layers }]) => {
          const outputs = Object.entries({ logits, probabilities, ...layers }).map(([key, values]) => [
            key,
            [...values],
          ]);
          return [name, { label, best, confidence, none, outputs: Object.fromEntries(outputs) }];
        },
      );
      return { pixels: pixels && [...pixels], atEdge, answers: Object.fromEntries(plain), latency };
    });
  }

  /** Writes strokes with the mouse, on an empty pad; gives the answer to the last one. */
  async draw(strokes: number[][][]): Promise<Reading> {
    const clear = this.page.locator("#clear");
    if (await clear.isEnabled()) await clear.click();
    const box = (await this.page.locator("#pad").boundingBox())!;
    const at = ([x, y]: number[]): [number, number] => [box.x + x * box.width, box.y + y * box.height];
    let before = 0;
    for (const stroke of strokes) {
      await this.page.mouse.move(...at(stroke[0]));
      await this.page.mouse.down();
      for (const point of stroke.slice(1)) await this.page.mouse.move(...at(point));
      before = await this.count();
      await this.page.mouse.up();
    }
    return this.reading(before);
  }

  /** Drops a file on the page. */
  async drop(name: string, type: string, data: Buffer): Promise<void> {
    const transfer = await this.page.evaluateHandle(
      ({ name, type, base64 }) => {
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        return transfer;
      },
      { name, type, base64: data.toString("base64") },
    );
    await this.page.dispatchEvent("#pad", "drop", { dataTransfer: transfer });
  }
}
