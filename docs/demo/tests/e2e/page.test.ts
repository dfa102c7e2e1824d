// The built page in a real browser: `npm run e2e`. Needs Chromium (CHROMIUM, else /usr/bin/chromium) and a Python with
// lenet_zoo and onnxruntime (PYTHON, else python3).

import { describe, expect, test } from "vitest";

import samples from "../../src/samples.json";
import { Site } from "../browser";
import { accessibilityFaults, expectSameAsPython, NETWORKS, padPixels, said, usePage } from "./checks";

const browser = usePage();

describe("the networks on the page", () => {
  test("answer, or say none of these, as in Python, also to what is no digit", async () => {
    const visit = await browser.visit();
    const line = (...points: number[][]) => points;
    const triangle = line([0.5, 0.2], [0.8, 0.8], [0.2, 0.8], [0.5, 0.2]);
    const cross = [line([0.2, 0.2], [0.8, 0.8]), line([0.8, 0.2], [0.2, 0.8])];
    const comb = [0.2, 0.4, 0.6, 0.8].map((x) => line([x, 0.2], [x, 0.8])).concat([line([0.2, 0.8], [0.8, 0.8])]);
    const readings = [];
    for (const strokes of [[triangle], cross, comb, samples[4].strokes]) readings.push(await visit.draw(strokes));
    expectSameAsPython(readings);
    const labels = readings.map(({ answers }) => answers.lenet5_modern.label);
    expect(labels[3]).toBe(4);
    expect(labels.filter((label) => label === null).length).toBeGreaterThan(0);
  });

  test("reject what they are not sure of", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const reading = await visit.draw([
      [
        [0.3, 0.3],
        [0.7, 0.3],
        [0.7, 0.7],
        [0.3, 0.7],
        [0.3, 0.3],
        [0.7, 0.7],
      ],
    ]);
    const sure = NETWORKS.map((name) => reading.answers[name].confidence);
    const none = NETWORKS.map((name) => reading.answers[name].none);
    expect(Math.min(...none)).toBeGreaterThan(0); // both have such a class
    expect(Math.min(...sure)).toBeLessThan(0.99);
    const slider = page.locator("#threshold");
    for (const threshold of [0, 99]) {
      await slider.fill(String(threshold));
      expect(await page.locator("#threshold-value").textContent()).toBe(`${threshold} %`);
      const answers = await said(visit);
      sure.forEach((confidence, i) => {
        const best = reading.answers[NETWORKS[i]].best;
        if (none[i] > confidence) {
          expect(answers[i]).toEqual({ big: "?", sentence: expect.stringMatching(/^none of these: .* %$/) });
        } else if (confidence >= threshold / 100) expect(answers[i].big).toBe(String(best));
        else expect(answers[i]).toEqual({ big: "?", sentence: expect.stringContaining(`not sure: ${best} at `) });
      });
    }
  });

  test("show every layer, and F6 beside the nearest bitmap", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const reading = await visit.draw(samples[7].strokes);
    const labels = await page
      .locator(".layer [role=application]")
      .evaluateAll((all) => all.map((each) => each.getAttribute("aria-label")!));
    for (const layer of ["C1", "S2", "C3", "S4", "C5", "F6"]) {
      const said = labels.filter((label) => label.startsWith(`${layer}:`)).map((label) => label.split(". ")[1]);
      expect(said, layer).toEqual(["LeNet-5, 1998", "LeNet-5, modern"]);
    }
    const blank = await page.locator(".layer").evaluateAll(
      (layers) =>
        layers.filter((layer) => {
          const pixels = [...layer.querySelectorAll("canvas")].flatMap((canvas) => [
            ...new Uint32Array(canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data.buffer),
          ]);
          return new Set(pixels).size < 2;
        }).length,
    );
    expect(blank).toBe(0);
    const distances = await page.locator(".targets li").allTextContents();
    const { logits } = reading.answers.lenet5_classic.outputs;
    expect(distances.map((text) => parseFloat(text.split(":")[1]))).toEqual(
      logits.map((logit) => Number((-logit).toFixed(-logit < 9.95 ? 1 : 0))),
    );
    const nearest = await page
      .locator(".targets li")
      .evaluateAll((all) => all.findIndex((each) => each.className === "best"));
    expect(nearest).toBe(reading.answers.lenet5_classic.best);
  });
});

describe("for everybody", () => {
  test("the keyboard reaches everything and draws", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const reached = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await page.keyboard.press("Tab");
      reached.add(
        await page.evaluate(
          () => document.activeElement!.id || document.activeElement!.getAttribute("aria-label") || "",
        ),
      );
    }
    const samplesReached = samples.map(({ label }) => `Sample: ${label}`);
    for (const name of ["pad", "undo", "clear", "choose", "threshold", ...samplesReached])
      expect(reached).toContain(name);

    await page.click("#clear");
    await page.focus("#pad");
    for (let i = 0; i < 9; i++) await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Space");
    expect(await page.locator("#announcement").textContent()).toBe("pen down");
    for (let i = 0; i < 18; i++) await page.keyboard.press("ArrowDown");
    const count = await visit.count();
    await page.keyboard.press("Space");
    const reading = await visit.reading(count);
    expect(NETWORKS.map((name) => reading.answers[name].label)).toEqual([1, 1]);
    await expect
      .poll(() => page.locator("#announcement").textContent())
      .toMatch(/^LeNet-5, 1998: 1, .* %\. LeNet-5, modern: 1, .* %$/);
  });

  test("the keyboard's pen is said to be up wherever its stroke ends, and changes nothing then", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    for (const end of ["Escape", "Tab"]) {
      await page.focus("#pad");
      await page.keyboard.press("Space");
      const drawing = await visit.count();
      await page.keyboard.press("ArrowLeft");
      await visit.reading(drawing);
      await page.keyboard.press(end);
      expect(await page.locator("#announcement").textContent()).toBe("pen up");
    }
    await page.focus("#pad");
    await visit.reading();
    const rested = await visit.count();
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Escape");
    await page.waitForTimeout(500);
    expect(await visit.count()).toBe(rested);
  });

  test("a phone 360 px wide draws with a finger", async () => {
    const phone = await Site.open({
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
      deviceScaleFactor: 3,
    });
    try {
      const visit = await phone.visit();
      const { page } = visit;
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
      await page.click("#clear");
      const box = (await page.locator("#pad").boundingBox())!;
      const touch = await page.context().newCDPSession(page);
      const at = ([x, y]: number[]) => [{ x: box.x + x * box.width, y: box.y + y * box.height }];
      let count = 0;
      for (const stroke of samples[5].strokes) {
        await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(stroke[0]) });
        for (const point of stroke.slice(1)) {
          await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(point) });
        }
        count = await visit.count();
        await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
      }
      const reading = await visit.reading(count);
      expect(NETWORKS.map((name) => reading.answers[name].label)).toEqual([5, 5]);
      expect(await page.evaluate(() => scrollY)).toBe(0);
      // Both answers are seen without scrolling.
      const bottoms = await page
        .locator(".answer")
        .evaluateAll((all) => all.map((each) => each.getBoundingClientRect().bottom));
      expect(Math.max(...bottoms)).toBeLessThanOrEqual(740);
      expect(await accessibilityFaults(visit)).toEqual([]);
      await page.setViewportSize({ width: 320, height: 640 });
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
      expect(visit.complaints).toEqual([]);
    } finally {
      await phone.close();
    }
  });

  test.each([
    [844, 390],
    [667, 375],
    [740, 360],
  ])("a phone held sideways, %i × %i, shows pad and answers together", async (width, height) => {
    const visit = await browser.visit();
    const { page } = visit;
    await page.setViewportSize({ width, height });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    const boxes = await page.locator("#pad:visible, .tools:visible, .answer:visible").evaluateAll((all) =>
      all.map((each) => {
        const { bottom, right } = each.getBoundingClientRect();
        return { bottom, right };
      }),
    );
    expect(boxes.length).toBe(4);
    for (const { bottom, right } of boxes) {
      expect(bottom).toBeLessThanOrEqual(height);
      expect(right).toBeLessThanOrEqual(width);
    }
    expect((await page.locator("#pad").boundingBox())!.width).toBeGreaterThan(230);
    expect(await accessibilityFaults(visit)).toEqual([]);
  });

  test.each(["light", "dark"] as const)("%s: axe finds nothing", async (colorScheme) => {
    const visit = await browser.visit();
    const { page } = visit;
    await page.emulateMedia({ colorScheme });
    expect(await accessibilityFaults(visit)).toEqual([]);
    await page.locator("#threshold").fill("99");
    await visit.drop("torn.png", "image/png", Buffer.from("no picture"));
    await expect.poll(() => page.locator("#message").textContent()).toContain("torn.png");
    expect(await accessibilityFaults(visit)).toEqual([]);
    await page.click("#clear");
    await expect.poll(async () => (await said(visit))[0].sentence).toBe("no digit");
    expect(await accessibilityFaults(visit)).toEqual([]);
  });

  test("dark mode turns page, ink and maps, also while the page is open", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const look = async () => {
      const data = await padPixels(visit);
      const ink = data[data.findIndex((value, i) => i % 4 === 3 && value === 255) - 3];
      const [ground, paper] = await page.evaluate(() => {
        const digit = (document.getElementById("digit") as HTMLCanvasElement).getContext("2d")!;
        const colour = getComputedStyle(document.documentElement).backgroundColor;
        return [Number(colour.match(/\d+/)![0]), digit.getImageData(0, 0, 1, 1).data[0]];
      });
      return { ground, paper, ink };
    };
    await page.emulateMedia({ colorScheme: "light" });
    const light = await look();
    await page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(async () => (await look()).paper).toBeLessThan(80);
    const dark = await look();
    expect(light.ground).toBeGreaterThan(220);
    expect(light.paper).toBeGreaterThan(220);
    expect(light.ink).toBeLessThan(60);
    expect(dark.ground).toBeLessThan(60);
    expect(dark.ink).toBeGreaterThan(200);
  });
});
