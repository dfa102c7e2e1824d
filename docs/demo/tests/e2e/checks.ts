// What the tests of the page share: a browser for each file of tests, and looks at what stands on the page.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import axe from "axe-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";

import { Site, type Reading, type Visit } from "../browser";

export const NETWORKS = ["lenet5_classic", "lenet5_modern"];
const TOLERANCE = 1e-4;

/** A browser for one file of tests. Pages are closed after each test, and must have had nothing to complain of. */
export function usePage(): { visit: Site["visit"]; site: () => Site } {
  let site: Site;
  const visits: Visit[] = [];
  beforeAll(async () => {
    site = await Site.open();
  });
  afterEach(async () => {
    const closed = visits.splice(0);
    for (const { page } of closed) await page.close();
    expect(closed.flatMap(({ complaints }) => complaints)).toEqual([]);
  });
  afterAll(() => site.close());
  const visit: Site["visit"] = async (options) => {
    const opened = await site.visit(options);
    visits.push(opened);
    return opened;
  };
  return { visit, site: () => site };
}

/** What onnxruntime in Python makes of the pixels that the page gave its networks, and that the page made the same. */
export function expectSameAsPython(readings: Reading[]): void {
  const input = JSON.stringify(readings.map(({ pixels, atEdge }) => ({ pixels, atEdge })));
  const script = fileURLToPath(new URL("reference.py", import.meta.url));
  const options = { input, encoding: "utf8", maxBuffer: 2 ** 28 } as const;
  const { status, stdout, stderr, error } = spawnSync(process.env.PYTHON ?? "python3", [script], options);
  if (status !== 0)
    throw new Error(`reference.py needs a Python with lenet_zoo and onnxruntime (set PYTHON): ${error ?? stderr}`);
  const reference: Record<string, (Record<string, number[]> & { label: unknown })[]> = JSON.parse(stdout);
  expect(Object.keys(reference)).toEqual(NETWORKS);
  for (const name of NETWORKS) {
    readings.forEach(({ answers }, i) => {
      const { outputs, label } = answers[name];
      const { label: wantedLabel, ...wantedOutputs } = reference[name][i];
      expect(label, name).toBe(wantedLabel);
      expect(Object.keys(outputs).sort()).toEqual(Object.keys(wantedOutputs).sort());
      for (const [key, values] of Object.entries(outputs)) {
        const wanted = wantedOutputs[key];
        expect(values.length).toBe(wanted.length);
        const far = values.filter((value, k) => !(Math.abs(value - wanted[k]) <= TOLERANCE));
        expect(far, `${name} ${key}`).toEqual([]);
      }
    });
  }
}

/** What stands on the page under each network. */
export async function said({ page }: Visit): Promise<{ big: string; sentence: string }[]> {
  return page.locator(".head").evaluateAll((heads) =>
    heads.map((head) => ({
      big: head.querySelector(".big")!.textContent!,
      sentence: head.querySelector(".sentence")!.textContent!,
    })),
  );
}

/** The visible pad as RGBA. (A copy is read: reading the pad itself makes the browser warn.) */
export async function padPixels({ page }: Visit): Promise<number[]> {
  return page.locator("#pad").evaluate((pad: HTMLCanvasElement) => {
    const copy = new OffscreenCanvas(100, 100).getContext("2d", { willReadFrequently: true })!;
    copy.drawImage(pad, 0, 0, 100, 100);
    return [...copy.getImageData(0, 0, 100, 100).data];
  });
}

export async function accessibilityFaults({ page }: Visit): Promise<string[]> {
  // Injected as a script element, axe would be stopped by the page's own policy.
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { axe } = window as never as { axe: typeof import("axe-core") };
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
  });
}
