// Opening the page and drawing on it, in a real browser.

import { describe, expect, test } from "vitest";

import samples from "../../src/samples.json";
import { type Reading } from "../browser";
import { expectSameAsPython, NETWORKS, padPixels, said, usePage } from "./checks";

const browser = usePage();

describe("opening", () => {
  test("answers at once, from a folder, with little to load", async () => {
    const visit = await browser.visit();
    const reading = await visit.reading();
    for (const name of NETWORKS) expect(reading.answers[name].label).toBe(3);
    expect((await said(visit)).map(({ big }) => big)).toEqual(["3", "3"]);
    const loaded = await visit.page.evaluate(() => {
      const answered = performance.getEntriesByName("answer")[0].startTime;
      const entries = performance.getEntries() as PerformanceResourceTiming[];
      return entries
        .filter(({ encodedBodySize, startTime }) => encodedBodySize && startTime < answered)
        .map(({ name, encodedBodySize }) => ({ name: name.split("/").at(-1)!, bytes: encodedBodySize }));
    });
    const isOf = (ending: string) => loaded.filter(({ name }) => name.endsWith(ending));
    expect([".onnx", ".wasm", ".css"].map((ending) => isOf(ending).length)).toEqual([2, 1, 1]);
    const weight = loaded.reduce((total, { name, bytes }) => total + (name.endsWith(".wasm") ? 0 : bytes), 0);
    expect(weight).toBeLessThan(410_000);
  });

  test("says that the networks are loading, not that there is no digit", async () => {
    let go = () => {};
    const gate = new Promise<void>((resolve) => (go = resolve));
    const visit = await browser.visit({
      ready: false,
      prepare: (page) => page.route("**/*.onnx", (route) => gate.then(() => route.continue())),
    });
    const sentences = async () => (await said(visit)).map(({ sentence }) => sentence);
    expect(await sentences()).toEqual(["loading…", "loading…"]);
    await visit.page.click("#clear");
    expect(await sentences()).toEqual(["loading…", "loading…"]);
    go();
    await expect.poll(sentences).toEqual(["no digit", "no digit"]);
  });

  test("from disk says what to do", async () => {
    const visit = await browser.visit({ ready: false });
    await visit.page.goto(new URL("../../dist/index.html", import.meta.url).href);
    expect(await visit.page.locator("#message").textContent()).toContain("python -m http.server");
    const { page } = visit;
    expect(await page.evaluate(() => getComputedStyle(document.querySelector(".tools")!).display)).toBe("grid");
    expect(visit.complaints.splice(0).filter((text) => !/file:|ERR_FAILED/.test(text))).toEqual([]);
  });

  test("says so when the networks do not come", async () => {
    const broken = await browser.site().visit({
      ready: false,
      prepare: (page) => page.route("**/*.onnx", (route) => route.abort()),
    });
    const { page } = broken;
    const message = () => page.locator("#message").textContent();
    await page.waitForSelector("body[data-state=failed]");
    expect(await message()).toContain("The networks could not be loaded");
    // And says it again after anything else.
    await broken.drop("torn.png", "image/png", Buffer.from("no picture"));
    await expect.poll(message).toContain("torn.png");
    await page.click("#clear");
    await expect.poll(message).toContain("The networks could not be loaded");
    await page.locator("input[value=number]").check();
    await expect.poll(message).toBe("");
    await page.locator("input[value=digit]").check();
    await expect.poll(message).toContain("The networks could not be loaded");
    await page.locator("#language").selectOption("ko");
    await expect.poll(message).toContain("신경망을 불러오지 못했습니다");
    expect((await said(broken)).map(({ sentence }) => sentence)).toEqual(["불러오지 못함", "불러오지 못함"]);
    await page.evaluate(() => localStorage.clear()); // the other tests want English
    await page.close();
  });
});

test("says what is missing where WebAssembly has no vectors, or where there is none", async () => {
  for (const without of [
    () => void (WebAssembly.validate = () => false),
    () => void delete (globalThis as Partial<typeof globalThis>).WebAssembly,
  ]) {
    const { page } = await browser.site().visit({ ready: false, prepare: (page) => page.addInitScript(without) });
    await page.waitForSelector("body[data-state=failed]");
    expect(await page.locator("#message").textContent()).toMatch(
      /^The networks could not be loaded: this browser has no WebAssembly with SIMD/,
    );
    await page.close();
  }
});

describe("drawing", () => {
  test("ten real digits, stroke by stroke, are read by both, as in Python", async () => {
    const visit = await browser.visit();
    const readings: Reading[] = [];
    for (const { label, strokes } of samples) {
      const reading = await visit.draw(strokes);
      readings.push(reading);
      expect(NETWORKS.map((name) => reading.answers[name].label)).toEqual([label, label]);
      expect((await said(visit)).map(({ big }) => big)).toEqual([String(label), String(label)]);
    }
    expect(new Set(readings.map(({ pixels }) => String(pixels))).size).toBe(10);
    expectSameAsPython(readings);
  });

  test("both answer while the line is drawn", async () => {
    const visit = await browser.visit(); // with a sample on the pad, which the first line replaces
    const box = (await visit.page.locator("#pad").boundingBox())!;
    await visit.page.mouse.move(box.x + 0.5 * box.width, box.y + 0.2 * box.height);
    await visit.page.mouse.down();
    for (let i = 1; i <= 12; i++) {
      await visit.page.mouse.move(box.x + 0.5 * box.width, box.y + (0.2 + 0.05 * i) * box.height);
    }
    const reading = await visit.reading();
    expect(NETWORKS.map((name) => reading.answers[name].label)).toEqual([1, 1]); // the button is still down
    await visit.page.mouse.up();
  });

  test("undo, clear, and no digit on an empty pad", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const four = samples[4].strokes;
    expect(four.length).toBe(2);
    await visit.draw(four.slice(0, 1));
    const before = (await visit.reading()).pixels;
    await visit.draw(four);
    let count = await visit.count();
    await page.keyboard.press("Control+z");
    expect((await visit.reading(count)).pixels).toEqual(before);

    count = await visit.count();
    await page.click("#clear");
    expect((await visit.reading(count)).pixels).toBeNull();
    expect(await said(visit)).toEqual(NETWORKS.map(() => ({ big: "–", sentence: "no digit" })));
    expect(await page.locator("#clear").isDisabled()).toBe(true);
    expect(await page.locator("#pad-hint").isVisible()).toBe(true);
    expect(await page.locator(".bars .best, .targets .best").count()).toBe(0);
    await expect.poll(() => page.locator("#announcement").textContent()).toBe("No digit: the pad is empty.");

    count = await visit.count();
    await page.click("#undo");
    expect((await visit.reading(count)).pixels).toEqual(before);
  });

  test("a tap is a dot", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    await page.click("#clear");
    const count = await visit.count();
    await page.locator("#pad").click({ position: { x: 160, y: 160 } });
    expect((await visit.reading(count)).pixels).not.toBeNull();
    const data = await padPixels(visit);
    const inked = data.filter((value, i) => i % 4 === 3 && value > 127).length;
    expect(inked).toBeGreaterThan(Math.PI * 3.5 ** 2 * 0.8); // of 100 × 100, by a pen 7.5 wide
    expect(inked).toBeLessThan(Math.PI * 4 ** 2 * 1.2);
  });

  test("two digits are said to be several", async () => {
    const visit = await browser.visit();
    const both = [samples[3], samples[4]].flatMap(({ strokes }, i) =>
      strokes.map((stroke) => stroke.map(([x, y]) => [0.5 * i + 0.5 * x, 0.25 + 0.5 * y])),
    );
    expect((await visit.draw(both)).pixels).toBeNull();
    expect((await said(visit)).map(({ sentence }) => sentence)).toEqual(["several digits", "several digits"]);
    expect(await visit.page.locator("#message").textContent()).toBe("Several digits: the networks read one at a time.");
  });

  test("a pen that presses harder writes thicker", async () => {
    const visit = await browser.visit();
    const ink = async (pressure: number) => {
      const before = await visit.count();
      await visit.page.locator("#pad").evaluate((pad, pressure) => {
        const box = pad.getBoundingClientRect();
        pad.setPointerCapture = () => {}; // there is no such pointer
        const fire = (type: string, x: number, y: number) =>
          pad.dispatchEvent(
            new PointerEvent(type, {
              pointerId: 7,
              pointerType: "pen",
              pressure,
              isPrimary: true,
              clientX: box.left + x * box.width,
              clientY: box.top + y * box.height,
            }),
          );
        document.getElementById("clear")!.click();
        fire("pointerdown", 0.3, 0.3);
        fire("pointermove", 0.7, 0.7);
        fire("pointerup", 0.7, 0.7);
      }, pressure);
      await visit.reading(before);
      const data = await padPixels(visit);
      return data.filter((value, i) => i % 4 === 3 && value > 0).length;
    };
    const [light, heavy] = [await ink(0.2), await ink(0.9)];
    expect(heavy).toBeGreaterThan(1.5 * light);
  });

  test("samples write themselves", async () => {
    const visit = await browser.visit();
    for (const { label } of samples) {
      const count = await visit.count();
      await visit.page.click(`#samples button[aria-label="Sample: ${label}"]`);
      const reading = await visit.reading(count);
      expect(NETWORKS.map((name) => reading.answers[name].label)).toEqual([label, label]);
    }
    const still = (await visit.reading()).pixels;
    await visit.page.emulateMedia({ reducedMotion: "no-preference" });
    const count = await visit.count();
    await visit.page.click(`#samples button[aria-label="Sample: 9"]`);
    const reading = await visit.reading(count + 5); // written in steps
    expect(reading.pixels).toEqual(still);
  });
});
