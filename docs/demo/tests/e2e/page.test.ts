// The built page in a real browser: `npm run e2e`. Needs Chromium (CHROMIUM, else /usr/bin/chromium) and a Python with
// numpy and onnxruntime (PYTHON, else python3).

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import axe from "axe-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import samples from "../../src/samples.json";
import { Site, type Reading, type Visit } from "../browser";
import { fixtures } from "../fixtures";

const NETWORKS = ["lenet5_classic", "lenet5_modern"];
const TOLERANCE = 1e-4;

let site: Site;
let visit: Visit | undefined;

beforeAll(async () => {
  site = await Site.open();
});

afterEach(async () => {
  const complaints = visit?.complaints ?? [];
  await visit?.page.close();
  visit = undefined;
  expect(complaints).toEqual([]);
});

afterAll(() => site.close());

/** What onnxruntime in Python makes of the pixels that the page gave its networks, and that the page made the same. */
function expectSameAsPython(readings: Reading[]): void {
  const input = JSON.stringify(readings.map(({ pixels }) => pixels));
  const script = fileURLToPath(new URL("reference.py", import.meta.url));
  const options = { input, encoding: "utf8", maxBuffer: 2 ** 28 } as const;
  const { status, stdout, stderr, error } = spawnSync(process.env.PYTHON ?? "python3", [script], options);
  if (status !== 0)
    throw new Error(`reference.py needs a Python with numpy and onnxruntime (set PYTHON): ${error ?? stderr}`);
  const reference: Record<string, Record<string, number[]>[]> = JSON.parse(stdout);
  expect(Object.keys(reference)).toEqual(NETWORKS);
  for (const name of NETWORKS) {
    readings.forEach(({ answers }, i) => {
      const { outputs } = answers[name];
      expect(Object.keys(outputs).sort()).toEqual(Object.keys(reference[name][i]).sort());
      for (const [key, values] of Object.entries(outputs)) {
        const wanted = reference[name][i][key];
        expect(values.length).toBe(wanted.length);
        const far = values.filter((value, k) => !(Math.abs(value - wanted[k]) <= TOLERANCE));
        expect(far, `${name} ${key}`).toEqual([]);
      }
    });
  }
}

/** What stands on the page under each network. */
async function said({ page }: Visit): Promise<{ big: string; sentence: string }[]> {
  return page.locator(".head").evaluateAll((heads) =>
    heads.map((head) => ({
      big: head.querySelector(".big")!.textContent!,
      sentence: head.querySelector(".sentence")!.textContent!,
    })),
  );
}

/** The visible pad as RGBA. (A copy is read: reading the pad itself makes the browser warn.) */
async function padPixels({ page }: Visit): Promise<number[]> {
  return page.locator("#pad").evaluate((pad: HTMLCanvasElement) => {
    const copy = new OffscreenCanvas(100, 100).getContext("2d", { willReadFrequently: true })!;
    copy.drawImage(pad, 0, 0, 100, 100);
    return [...copy.getImageData(0, 0, 100, 100).data];
  });
}

async function accessibilityFaults({ page }: Visit): Promise<string[]> {
  // Injected as a script element, axe would be stopped by the page's own policy.
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { axe } = window as never as { axe: typeof import("axe-core") };
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
  });
}

describe("opening", () => {
  test("answers at once, from a folder, with little to load", async () => {
    visit = await site.visit();
    const reading = await visit.reading();
    for (const name of NETWORKS) expect(reading.answers[name].label).toBe(3);
    expect((await said(visit)).map(({ big }) => big)).toEqual(["3", "3"]);
    const weight = [...site.sent].reduce((total, [name, bytes]) => total + (name.endsWith(".wasm") ? 0 : bytes), 0);
    expect([...site.sent.keys()].filter((name) => name.endsWith(".onnx")).length).toBe(2);
    expect(weight).toBeLessThan(400_000);
  });

  test("says so when the networks do not come", async () => {
    const broken = await site.visit({
      ready: false,
      prepare: (page) => page.route("**/*.onnx", (route) => route.abort()),
    });
    await broken.page.waitForSelector("body[data-state=failed]");
    expect(await broken.page.locator("#message").textContent()).toContain("The networks could not be loaded");
    await broken.page.close();
  });
});

describe("drawing", () => {
  test("ten real digits, stroke by stroke, are read by both, as in Python", async () => {
    visit = await site.visit();
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
    visit = await site.visit(); // with a sample on the pad, which the first line replaces
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
    visit = await site.visit();
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

  test("a pen that presses harder writes thicker", async () => {
    visit = await site.visit();
    const ink = async (pressure: number) => {
      const before = await visit!.count();
      await visit!.page.locator("#pad").evaluate((pad, pressure) => {
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
      await visit!.reading(before);
      const data = await padPixels(visit!);
      return data.filter((value, i) => i % 4 === 3 && value > 0).length;
    };
    const [light, heavy] = [await ink(0.2), await ink(0.9)];
    expect(heavy).toBeGreaterThan(1.5 * light);
  });

  test("samples write themselves", async () => {
    visit = await site.visit();
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

describe("pictures", () => {
  test("are the same 28 × 28 bytes as in Python, and the same answers", async () => {
    visit = await site.visit();
    const readings: Reading[] = [];
    for (const { name, data, label, digit, error } of fixtures) {
      const before = await visit.count();
      await visit.drop(name, "image/png", data);
      const reading = await visit.reading(before);
      expect(reading.pixels, name).toEqual(digit);
      if (digit) {
        readings.push(reading);
        expect(
          NETWORKS.map((network) => reading.answers[network].best),
          name,
        ).toEqual([label, label]);
      } else {
        expect((await visit.page.locator("#message").textContent())!.toLowerCase()).toBe(`${error}.`);
        expect((await said(visit)).map(({ sentence }) => sentence)).toEqual(["no digit", "no digit"]);
      }
    }
    expectSameAsPython(readings);
  });

  test("can be chosen and pasted", async () => {
    visit = await site.visit();
    const { page } = visit;
    const [first, second] = ["scan_dark_on_light.png", "sheet_on_a_desk.png"].map((name) =>
      fixtures.find((f) => f.name === name)!,
    );
    let count = await visit.count();
    const chooser = page.waitForEvent("filechooser");
    await page.click("#choose");
    await (await chooser).setFiles({ name: first.name, mimeType: "image/png", buffer: first.data });
    expect((await visit.reading(count)).pixels).toEqual(first.digit);

    count = await visit.count();
    await page.evaluate((base64) => {
      const transfer = new DataTransfer();
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
    }, second.data.toString("base64"));
    expect((await visit.reading(count)).pixels).toEqual(second.digit);

    // The first line over it starts a drawing; undo brings the picture back.
    count = await visit.count();
    const box = (await page.locator("#pad").boundingBox())!;
    await page.mouse.move(box.x + 100, box.y + 60);
    await page.mouse.down();
    await page.mouse.move(box.x + 100, box.y + 260, { steps: 8 });
    await page.mouse.up();
    expect((await visit.reading(count)).answers.lenet5_modern.label).toBe(1);
    count = await visit.count();
    await page.click("#undo");
    expect((await visit.reading(count)).pixels).toEqual(second.digit);
  });

  test("that are broken are named, and leave the drawing as it was", async () => {
    visit = await site.visit();
    const { page } = visit;
    const before = (await visit.reading()).pixels;
    const png = fixtures[0].data;
    const broken: [string, string, Buffer][] = [
      ["notes.txt", "text/plain", Buffer.from("a letter")],
      ["empty.png", "image/png", Buffer.alloc(0)],
      ["torn.png", "image/png", png.subarray(0, 50)],
      ["garbage.jpg", "image/jpeg", Buffer.from(Array.from({ length: 999 }, (_, i) => (i * 7919) % 256))],
    ];
    for (const [name, type, data] of broken) {
      await visit.drop(name, type, data);
      const text = `“${name}” is not a picture that this browser can read. PNG, JPEG, WebP and GIF are.`;
      await expect.poll(() => page.locator("#message").textContent()).toBe(text);
    }
    await page.dispatchEvent("body", "drop", { dataTransfer: await page.evaluateHandle(() => new DataTransfer()) });
    await expect.poll(() => page.locator("#message").textContent()).toBe("Only picture files can be dropped here.");
    expect((await visit.reading()).pixels).toEqual(before);

    await visit.draw(samples[2].strokes);
    expect(await page.locator("#message").textContent()).toBe("");
  });
});

describe("the networks on the page", () => {
  test("reject what they are not sure of", async () => {
    visit = await site.visit();
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
    expect(Math.min(...sure)).toBeLessThan(0.99);
    const slider = page.locator("#threshold");
    for (const threshold of [0, 99]) {
      await slider.fill(String(threshold));
      expect(await page.locator("#threshold-value").textContent()).toBe(`${threshold} %`);
      const answers = await said(visit);
      sure.forEach((confidence, i) => {
        const best = reading.answers[NETWORKS[i]].best;
        if (confidence >= threshold / 100) expect(answers[i].big).toBe(String(best));
        else expect(answers[i]).toEqual({ big: "?", sentence: expect.stringContaining(`not sure: ${best} at `) });
      });
    }
  });

  test("show every layer, and F6 beside the nearest bitmap", async () => {
    visit = await site.visit();
    const { page } = visit;
    const reading = await visit.draw(samples[7].strokes);
    const labels = await page
      .locator(".layer [role=img]")
      .evaluateAll((all) => all.map((each) => each.getAttribute("aria-label")!));
    for (const layer of ["C1", "S2", "C3", "S4", "C5", "F6"]) {
      expect(labels.filter((label) => label.startsWith(`${layer}:`)).length, layer).toBe(2);
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
    visit = await site.visit();
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

  test.each(["light", "dark"] as const)("%s: axe finds nothing", async (colorScheme) => {
    visit = await site.visit();
    const { page } = visit;
    await page.emulateMedia({ colorScheme });
    expect(await accessibilityFaults(visit)).toEqual([]);
    await page.locator("#threshold").fill("99");
    await visit.drop("torn.png", "image/png", Buffer.from("no picture"));
    await expect.poll(() => page.locator("#message").textContent()).toContain("torn.png");
    expect(await accessibilityFaults(visit)).toEqual([]);
    await page.click("#clear");
    await expect.poll(async () => (await said(visit!))[0].sentence).toBe("no digit");
    expect(await accessibilityFaults(visit)).toEqual([]);
  });

  test("dark mode turns page, ink and maps, also while the page is open", async () => {
    visit = await site.visit();
    const { page } = visit;
    const look = async () => {
      const data = await padPixels(visit!);
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
