// A number on the page, in a real browser.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import type { NumberDetail } from "../../src/numbers";
import samples from "../../src/samples.json";
import type { Visit } from "../browser";
import { lineFixtures } from "../fixtures";
import { accessibilityFaults, usePage } from "./checks";

const browser = usePage();

const picture = lineFixtures.find(({ name }) => name === "dark_on_light.png")!;

interface Numbers {
  lines: { text: string; confidence: number; boxes: number[][]; width: number; pixels: number[] }[];
  reason: string;
}

/** The page as it reads numbers, once it has read the one that it opens with. */
async function visitNumbers(): Promise<Visit> {
  const visit = await browser.visit();
  await visit.page.evaluate(() => {
    const log: unknown[] = ((window as never as { numbers: unknown[] }).numbers = []);
    document.addEventListener("number", (event) => log.push((event as CustomEvent).detail));
  });
  await visit.page.locator("input[value=number]").check();
  await visit.page.waitForSelector("body[data-state=number]");
  return visit;
}

const countOf = ({ page }: Visit) => page.evaluate(() => (window as never as { numbers: unknown[] }).numbers.length);

/** What the page read last, once it has read more than `before` times and rests. */
async function read({ page }: Visit, before = 0): Promise<Numbers> {
  await page.waitForFunction((n) => (window as never as { numbers: unknown[] }).numbers.length > n, before);
  await page.waitForSelector("body:not([data-busy])");
  return page.evaluate(() => {
    const { lines, reason } = (window as never as { numbers: NumberDetail[] }).numbers.at(-1)!;
    return {
      reason,
      lines: lines.map(({ text, confidence, characters, pixels: { data, width } }) => ({
        text,
        confidence,
        boxes: characters.map(({ box }) => box),
        width,
        pixels: [...data],
      })),
    };
  });
}

describe("a number", () => {
  test("on a picture is the same strip as in Python, and the same answer", { timeout: 120_000 }, async () => {
    const script = fileURLToPath(new URL("reference_lines.py", import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.env.PYTHON ?? "python3", [script], { encoding: "utf8" });
    expect(status, stderr).toBe(0);
    const reference: Record<string, { text: string; confidence: number; boxes: number[][] }[]> = JSON.parse(stdout);
    const visit = await visitNumbers();
    for (const { name, data, strips, error } of lineFixtures) {
      const before = await countOf(visit);
      await visit.drop(name, "image/png", data);
      const { lines, reason } = await read(visit, before);
      expect(
        lines.map(({ width, pixels }) => ({ width, pixels })),
        name,
      ).toEqual((strips ?? []).map(({ width, pixels }) => ({ width, pixels })));
      if (error) expect(reason).toBe(error);
      const wanted = reference[name];
      expect(
        lines.map(({ text, boxes }) => ({ text, boxes })),
        name,
      ).toEqual(wanted.map(({ text, boxes }) => ({ text, boxes })));
      lines.forEach(({ confidence }, i) => expect(Math.abs(confidence - wanted[i].confidence)).toBeLessThan(1e-4));
      const said = wanted.map(({ text }) => text).join("\n");
      expect(await visit.page.locator("#number").textContent()).toBe(said || "–");
      expect(await visit.page.locator("#lines figure").count()).toBe(wanted.length);
      expect(await visit.page.locator("#frames .frame").count()).toBe(said.replace("\n", "").length);
    }
  });

  test("is read while it is written", async () => {
    const visit = await visitNumbers();
    const { page } = visit;
    expect((await read(visit)).lines.map(({ text }) => text)).toEqual(["1998"]);
    await page.click("#clear");
    await expect.poll(() => page.locator("#number-sentence").textContent()).toBe("The pad is empty.");
    expect(await page.locator("#line-hint").isVisible()).toBe(true);
    const box = (await page.locator("#line-pad").boundingBox())!;
    expect(box.width / box.height).toBeGreaterThan(3);
    let before = 0;
    for (const [i, digit] of [3, 6, 4].entries()) {
      for (const stroke of samples[digit].strokes) {
        const at = ([x, y]: number[]): [number, number] => [
          box.x + (0.4 + 0.6 * (i + x)) * box.height,
          box.y + (0.2 + 0.6 * y) * box.height,
        ];
        await page.mouse.move(...at(stroke[0]));
        await page.mouse.down();
        for (const point of stroke.slice(1)) await page.mouse.move(...at(point));
        before = await countOf(visit);
        await page.mouse.up();
      }
      const text = "364".slice(0, i + 1);
      await expect.poll(() => page.locator("#number").textContent()).toBe(text);
    }
    await read(visit, before);
    expect(await page.locator("output:not([aria-live=off])").count()).toBe(0); // what follows would be said twice
    expect(await page.locator(".line-best").textContent()).toBe("364");
    await expect
      .poll(() => page.locator("#announcement").textContent())
      .toMatch(/^Number: 364, with probability .* %$/);
    for (const _ of samples[4].strokes) await page.keyboard.press("Control+z");
    await expect.poll(() => page.locator("#number").textContent()).toBe("36");

    // Each pad keeps what is on it.
    await page.locator("input[value=digit]").check();
    await page.waitForSelector("body[data-state=digit]");
    expect(await page.locator(".big").nth(1).textContent()).toBe("3");
    expect(await page.locator("#line-pad").isVisible()).toBe(false);
  });

  test("takes back what the page said before it", async () => {
    const visit = await visitNumbers();
    const { page } = visit;
    const message = page.locator("#message");
    await visit.drop("torn.png", "image/png", Buffer.from("no picture"));
    await expect.poll(() => message.textContent()).toContain("torn.png");
    await page.click("#clear");
    await expect.poll(() => message.textContent()).toBe("");

    const slow = await visitNumbers(); // its first picture brings the worker
    const context = slow.page.context();
    let go = () => {};
    const gate = new Promise<void>((resolve) => (go = resolve));
    await context.route("**/worker-*.js", (route) => gate.then(() => route.continue()));
    const before = await countOf(slow);
    await slow.drop(picture.name, "image/png", picture.data);
    const said = slow.page.locator("#message");
    await expect.poll(() => said.textContent()).toBe("Reading the picture…");
    go();
    expect((await read(slow, before)).lines.map(({ text }) => text)).toEqual(["20718"]);
    expect(await said.textContent()).toBe("");
    await context.unroute("**/worker-*.js");
  });

  test("is not to be had where its part of the page does not load, and the page says so", async () => {
    const visit = await browser.visit({
      prepare: (page) => page.route("**/numbers-*.js", (route) => route.abort()),
    });
    const { page } = visit;
    await page.locator("input[value=number]").click();
    await expect.poll(() => page.locator("#message").textContent()).toContain("could not be loaded");
    expect(await page.locator("input[value=digit]").isChecked()).toBe(true);
    expect(await page.locator("#pad").isVisible()).toBe(true);
    expect(visit.complaints.splice(0).filter((text) => !text.includes("ERR_FAILED"))).toEqual([]);
  });

  test("that the network stops at is said to be none", async () => {
    const other = fileURLToPath(new URL("../../models/lenet5_modern.onnx", import.meta.url)); // reads no lines
    const visit = await browser.visit({
      prepare: (page) => page.route("**/lenet5_numbers-*.onnx", (route) => route.fulfill({ path: other })),
    });
    const { page } = visit;
    await page.locator("input[value=number]").check();
    await expect.poll(() => page.locator("#message").textContent()).toMatch(/^The networks stopped: ./);
    await expect.poll(() => visit.complaints.splice(0).join()).toMatch(/^exception: /);
  });

  test("may be left for a digit while its part of the page loads", async () => {
    let go = () => {};
    const gate = new Promise<void>((resolve) => (go = resolve));
    const visit = await browser.visit({
      prepare: (page) => page.route("**/numbers-*.js", (route) => gate.then(() => route.continue())),
    });
    const { page } = visit;
    await page.locator("input[value=number]").check();
    await page.locator("input[value=digit]").check();
    const loaded = page.waitForResponse("**/numbers-*.js");
    go();
    await loaded;
    await page.waitForTimeout(500);
    expect(await page.locator("body").getAttribute("data-state")).toBe("digit");
    await page.locator("input[value=number]").check();
    await page.waitForSelector("body[data-state=number]");
    expect(await page.locator("#number").textContent()).toBe("1998");
    // Written over the pad as it is, not squeezed into one that is not on the page.
    const lefts = await page
      .locator("#frames .frame")
      .evaluateAll((all) => all.map((each) => (each as HTMLElement).offsetLeft));
    const { width } = (await page.locator("#line-pad").boundingBox())!;
    expect(lefts[3] - lefts[0]).toBeGreaterThan(0.3 * width);
  });

  test.each([
    [1280, 900],
    [390, 844],
    [320, 640],
    [844, 390],
    [667, 375],
  ])("fits a page of %i × %i, in light and dark", async (width, height) => {
    const visit = await visitNumbers();
    const { page } = visit;
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: width < height ? "dark" : "light" });
    await page.waitForTimeout(500);
    await page.waitForSelector("body:not([data-busy])");
    expect(await page.locator("#number").textContent()).toBe("1998"); // on a narrower pad, too
    const before = await countOf(visit);
    await visit.drop(picture.name, "image/png", picture.data);
    expect((await read(visit, before)).lines.map(({ text }) => text)).toEqual(["20718"]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    const bottoms = await page
      .locator("#number, .pad.wide, .tools")
      .evaluateAll((all) => all.map((each) => each.getBoundingClientRect().bottom));
    expect(Math.max(...bottoms)).toBeLessThanOrEqual(height); // answer, pad and tools on one screen
    expect(await accessibilityFaults(visit)).toEqual([]);
  });
});
