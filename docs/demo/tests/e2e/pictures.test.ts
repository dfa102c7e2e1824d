// Pictures on the page, in a real browser.

import { crc32, deflateSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import samples from "../../src/samples.json";
import { type Reading } from "../browser";
import { SEVERAL } from "../../src/pictures/refusals";
import { fixtures } from "../fixtures";
import { expectSameAsPython, NETWORKS, said, usePage } from "./checks";

const browser = usePage();

describe("pictures", () => {
  test("are the same 28 × 28 bytes as in Python, and the same answers", async () => {
    const visit = await browser.visit();
    const readings: Reading[] = [];
    for (const { name, data, label, digit, atEdge, error } of fixtures) {
      const before = await visit.count();
      await visit.drop(name, "image/png", data);
      const reading = await visit.reading(before);
      expect(reading.pixels, name).toEqual(digit);
      expect(reading.atEdge, name).toBe(atEdge);
      if (digit) {
        readings.push(reading);
        expect(
          NETWORKS.map((network) => reading.answers[network].best),
          name,
        ).toEqual([label, label]);
      } else {
        const several = error === SEVERAL;
        const message = several ? "several digits: the networks read one at a time" : error;
        const sentence = several ? "several digits" : "no digit";
        expect((await visit.page.locator("#message").textContent())!.toLowerCase()).toBe(`${message}.`);
        expect((await said(visit)).map((each) => each.sentence)).toEqual([sentence, sentence]);
      }
    }
    expectSameAsPython(readings);
  });

  test("can be chosen and pasted", async () => {
    const visit = await browser.visit();
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
    const visit = await browser.visit();
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

  test("are read again after the reader did not load once", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const small = fixtures.find(({ name }) => name === "wide.png")!;
    await page.context().route("**/worker-*.js", (route) => route.abort());
    await visit.drop(small.name, "image/png", small.data);
    const text = "The part of the page that reads pictures did not load.";
    await expect.poll(() => page.locator("#message").textContent()).toBe(text);
    expect(visit.complaints.splice(0).filter((complaint) => !complaint.includes("ERR_FAILED"))).toEqual([]);
    await page.context().unroute("**/worker-*.js");
    const count = await visit.count();
    await visit.drop(small.name, "image/png", small.data);
    expect((await visit.reading(count)).pixels).toEqual(small.digit);
    expect(await page.locator("#message").textContent()).toBe("");
  });

  test("the last of several that are chosen in quick succession stays, whichever is read first", async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const small = fixtures.find(({ name }) => name === "wide.png")!;
    const count = await visit.count();
    await visit.drop("large.png", "image/png", greyPng(4000, 4000));
    await visit.drop(small.name, "image/png", small.data);
    expect((await visit.reading(count)).pixels).toEqual(small.digit);
    // What is drawn while a picture is read stays, too.
    await visit.drop("large.png", "image/png", greyPng(4000, 4000));
    const drawn = await visit.draw(samples[7].strokes);
    await page.waitForTimeout(2000);
    expect((await visit.reading()).pixels).toEqual(drawn.pixels);
    expect(await page.locator("#message").textContent()).toBe("");
  });

  test("of 64 million pixels do not block the page", { timeout: 120_000 }, async () => {
    const visit = await browser.visit();
    const { page } = visit;
    const count = await visit.count();
    await page.evaluate(() => {
      const state = window as never as { longest: number };
      state.longest = 0;
      let last = performance.now();
      setInterval(() => {
        state.longest = Math.max(state.longest, performance.now() - last);
        last = performance.now();
      }, 20);
    });
    await visit.drop("large.png", "image/png", greyPng(8000, 8000));
    const start = Date.now();
    await expect.poll(() => page.locator("#message").textContent()).toBe("Reading the picture…");
    await page.waitForFunction((n) => (window as never as { answers: unknown[] }).answers.length > n, count, {
      timeout: 90_000,
    });
    const took = Date.now() - start;
    const longest = await page.evaluate(() => (window as never as { longest: number }).longest);
    expect((await visit.reading(count)).answers.lenet5_modern.label).toBe(1);
    expect(await page.locator("#message").textContent()).toBe("");
    expect(longest).toBeLessThan(Math.max(500, took / 4));
  });
});

/** A black bar on white: a 1. */
function greyPng(height: number, width: number): Buffer {
  const plain = Buffer.alloc(width + 1, 255);
  const barred = Buffer.from(plain).fill(0, Math.floor(0.46 * width), Math.floor(0.54 * width));
  plain[0] = barred[0] = 0; // filter: none
  const rows = Array.from({ length: height }, (_, y) => (Math.abs(y - height / 2) < 0.3 * height ? barred : plain));
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]); // 8 bits, grey
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  const pixels = deflateSync(Buffer.concat(rows), { level: 1 });
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}
