// `npm run bench`: how long the page takes, printed and not judged. Close other programs first.

import { test } from "vitest";

import samples from "../../src/samples.json";
import { Site } from "../browser";

const OPENINGS = 10;

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function line(name: string, values: number[], unit = "ms"): void {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const spread = values.length > 1 ? ` (${low.toFixed(1)} … ${high.toFixed(1)}, n = ${values.length})` : "";
  console.log(`${name.padEnd(58)} ${median(values).toFixed(1)} ${unit}${spread}`);
}

test("bench", { timeout: 600_000 }, async () => {
  const first: number[] = [];
  const again: number[] = [];
  let weight = 0;
  let wasm = 0;
  for (let i = 0; i < OPENINGS; i++) {
    const site = await Site.open(); // a new profile: nothing is cached, nothing compiled
    for (const times of [first, again]) {
      const { page } = await site.visit();
      times.push(await page.evaluate(() => performance.getEntriesByName("answer")[0].startTime));
      await page.close();
    }
    weight = [...site.sent].reduce((total, [name, bytes]) => total + (name.endsWith(".wasm") ? 0 : bytes), 0);
    wasm = [...site.sent].reduce((total, [name, bytes]) => total + (name.endsWith(".wasm") ? bytes : 0), 0);
    await site.close();
  }
  line("opening → first answer, new browser profile, median", first);
  line("opening → first answer, second time, median", again);
  line("page without WebAssembly", [weight / 1000], "kB");
  line("WebAssembly", [wasm / 1000], "kB");

  const site = await Site.open();
  const { page } = await site.visit();
  await page.evaluate(() => {
    const state = window as never as { painted: number[] };
    state.painted = [];
    document.addEventListener("answer", (event) => {
      const { latency } = (event as CustomEvent).detail;
      const answered = performance.now();
      // After the frame that shows the answer: its callback, and then the first task.
      requestAnimationFrame(() => setTimeout(() => state.painted.push(latency + performance.now() - answered), 0));
    });
  });
  const box = (await page.locator("#pad").boundingBox())!;
  const last: number[] = [];
  const painted: number[] = [];
  const all: number[] = [];
  for (let round = 0; round < 3; round++) {
    for (const { strokes } of samples) {
      if (await page.locator("#clear").isEnabled()) await page.click("#clear");
      for (const stroke of strokes) {
        const points = stroke.map(([x, y]) => [box.x + x * box.width, box.y + y * box.height]);
        await page.mouse.move(points[0][0], points[0][1]);
        await page.mouse.down();
        for (const [x, y] of points) await page.mouse.move(x, y);
        await page.waitForTimeout(40);
        const state = await page.evaluate(() => {
          const { answers, painted } = window as never as { answers: { latency: number }[]; painted: number[] };
          return { latencies: answers.map(({ latency }) => latency), painted };
        });
        last.push(state.latencies.at(-1)!);
        painted.push(state.painted.at(-1)!);
        await page.mouse.up();
      }
    }
  }
  all.push(
    ...(await page.evaluate(() =>
      (window as never as { answers: { latency: number }[] }).answers.map((a) => a.latency),
    )),
  );
  line("last point of a stroke → answer on the page, median", last);
  line("last point of a stroke → frame shown, median", painted);
  line("any change → answer on the page, median", all);
  await site.close();
});
