// What the page teaches, in which languages, and without a network, in a real browser.

import { describe, expect, test } from "vitest";

import samples from "../../src/samples.json";
import { Site } from "../browser";
import { accessibilityFaults, NETWORKS, padPixels, said, usePage } from "./checks";

const browser = usePage();

describe("a unit", () => {
  test("that is pointed at shows its part of the input and its kernel", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const card = page.locator(".inspector");
    expect(await card.isVisible()).toBe(false);
    const map = page.locator(".layer-C3 canvas").nth(3);
    // Scrolling hides the card, and a browser may tell of it after the pointer has come to rest.
    await expect
      .poll(async () => {
        await page.mouse.move(2, 2);
        await map.hover();
        return card.isVisible();
      })
      .toBe(true);
    expect(await card.locator(".unit").textContent()).toMatch(/^C3, map 4, row [56], column [56]$/);
    expect(await card.textContent()).toContain("sees 14 × 14 pixels of the input");
    expect(await card.locator(".kernels canvas").count()).toBe(6);
    const frame = await card.locator(".field-frame").evaluate((node: HTMLElement) => node.style.width);
    expect(frame).toBe(`${(100 * 14) / 32}%`);
    await page.mouse.move(2, 2);
    expect(await card.isVisible()).toBe(false);
    await expect
      .poll(async () => {
        await page.mouse.move(2, 2);
        await page.locator(".layer-S2 canvas").first().hover();
        return card.textContent();
      })
      .toContain("The mean of 2 × 2 units of C1, times");
  });

  test("is gone to with the keyboard", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    await page.locator("#threshold").focus();
    await page.keyboard.press("Tab");
    const card = page.locator(".inspector .unit");
    expect(await card.textContent()).toBe("C1, map 1, row 1, column 1");
    for (const key of ["ArrowDown", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
    expect(await card.textContent()).toBe("C1, map 1, row 2, column 3");
    expect(await page.locator("#announcement").textContent()).toContain("C1, map 1, row 2, column 3. value");
    for (let i = 0; i < 26; i++) await page.keyboard.press("ArrowRight");
    expect(await card.textContent()).toBe("C1, map 2, row 2, column 1");
    expect(await accessibilityFaults(visit)).toEqual([]);
    await page.keyboard.press("Escape");
    expect(await card.isVisible()).toBe(false);
  });

  test("keeps its card where the browser scrolls to it", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    await page.locator("#threshold").focus();
    const layers = await page.locator(".units").count();
    expect(layers).toBeGreaterThan(10);
    for (let i = 0; i < layers; i++) {
      await page.keyboard.press("Tab");
      await page.waitForTimeout(100); // until it has scrolled
      expect(await page.locator(".inspector").isVisible()).toBe(true);
    }
    expect(await page.evaluate(() => scrollY)).toBeGreaterThan(0);
    const [frame, unit] = await page.evaluate(() =>
      [".unit-frame", ".units:focus canvas"].map((each) => document.querySelector(each)!.getBoundingClientRect().top),
    );
    expect(Math.abs(frame - unit)).toBeLessThan(2);
  });
});

test("without its lessons the page says so, and does all else", async () => {
  const site = await Site.open({ serviceWorkers: "allow" });
  try {
    const { page } = await site.visit({
      ready: false,
      prepare: (page) => page.route("**/lessons-*.js", (route) => route.abort()),
    });
    const message = () => page.locator("#message").textContent();
    await expect.poll(message).toContain("What explains the layers could not be loaded");
    const registered = () => page.evaluate(async () => Boolean(await navigator.serviceWorker.getRegistration()));
    await expect.poll(registered).toBe(true);
  } finally {
    await site.close();
  }
});

test("without the marked square the answer is what the page says", async () => {
  const visit = await browser.visit();
  const { page } = visit;
  await visit.draw(samples[2].strokes);
  const sentences = () => page.locator(".changes figcaption").allTextContents();
  await expect.poll(async () => (await sentences()).every(Boolean), { timeout: 20_000 }).toBe(true);
  for (const sentence of await sentences()) {
    expect(sentence).toMatch(/^(Without the marked square: (\d|none of these)|No single square changes the answer)\.$/);
  }
  await page.click("#clear");
  await expect.poll(sentences).toEqual(["", ""]);
});

test("a wider pen writes wider", async () => {
  const visit = await browser.visit();
  const ink = async (width: string) => {
    await visit.page.locator("#pen").fill(width);
    await visit.draw(samples[1].strokes);
    return (await padPixels(visit)).filter((value, i) => i % 4 === 3 && value > 0).length;
  };
  expect(await ink("12")).toBeGreaterThan(1.5 * (await ink("4")));
});

test("the page speaks Korean to those whose browser does, and to those who choose it", async () => {
  const korean = await Site.open({ locale: "ko-KR" });
  try {
    const visit = await korean.visit();
    const { page } = visit;
    expect(await page.locator("html").getAttribute("lang")).toBe("ko");
    expect(await page.locator("#undo").textContent()).toBe("되돌리기");
    expect(await page.locator(".head h2").allTextContents()).toEqual(["LeNet-5 1998년", "LeNet-5 현대판"]);
    expect(await accessibilityFaults(visit)).toEqual([]);
    await page.locator("#threshold").fill("99");
    await page.locator("#language").selectOption("en");
    await expect.poll(() => page.locator("#undo").textContent()).toBe("Undo");
    expect((await said(visit)).map(({ big }) => big)).toEqual(["3", "3"]);
    await page.reload(); // the choice is kept
    await page.waitForSelector("body[data-state=digit]");
    expect(await page.locator("#undo").textContent()).toBe("Undo");
    expect(visit.complaints).toEqual([]);
  } finally {
    await korean.close();
  }
});

test("a language that does not load is not chosen", async () => {
  const visit = await browser.visit({ prepare: (page) => page.route("**/ko-*.js", (route) => route.abort()) });
  const { page } = visit;
  await page.locator("#language").selectOption("ko");
  await expect.poll(() => page.locator("#message").textContent()).toContain("The language could not be loaded");
  expect(await page.locator("#language").inputValue()).toBe("en");
  expect(await page.evaluate(() => localStorage.length)).toBe(0);
  expect(visit.complaints.splice(0).filter((text) => !text.includes("ERR_FAILED"))).toEqual([]);
});

test("once it was open, the page is there without a network", async () => {
  const site = await Site.open({ serviceWorkers: "allow" });
  try {
    const visit = await site.visit();
    const { page } = visit;
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await site.goOffline();
    await page.reload();
    await page.waitForSelector("body[data-state=digit]");
    const reading = await visit.draw(samples[7].strokes);
    expect(NETWORKS.map((name) => reading.answers[name].label)).toEqual([7, 7]);
    await page.locator("#language").selectOption("ko"); // what is loaded when it is asked for is there, too
    await expect.poll(() => page.locator("#undo").textContent()).toBe("되돌리기");
    expect(visit.complaints).toEqual([]);
  } finally {
    await site.close();
  }
});
