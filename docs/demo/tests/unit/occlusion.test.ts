import { expect, test } from "vitest";

import { occlusion } from "../../src/occlusion";

/** A network that says 4 if the pixel at row 10, column 12 is ink, more surely by the one at 20, 20; else 9. */
async function answer(pictures: Uint8Array, count: number) {
  const logits = new Float32Array(10 * count);
  const probabilities = new Float32Array(10 * count);
  for (let k = 0; k < count; k++) {
    const ink = (row: number, column: number) => Number(pictures[784 * k + 28 * row + column] > 0);
    logits[10 * k + 4] = 4 * ink(10, 12) + 2 * ink(20, 20);
    logits[10 * k + 9] = 3;
    probabilities[10 * k + (logits[10 * k + 4] > 3 ? 4 : 9)] = 1;
  }
  return { logits, probabilities };
}

function picture(...ink: [row: number, column: number][]): Uint8Array {
  const pixels = new Uint8Array(784);
  for (const [row, column] of ink) pixels[28 * row + column] = 255;
  return pixels;
}

test("the lead that a square's loss costs, and the square that changes the answer", async () => {
  const found = (await occlusion(picture([10, 12], [20, 20]), answer))!;
  // The lead is 6 − 3 = 3; without the one pixel 2 − 3 = −1, without the other 4 − 3 = 1.
  expect(found.falls[28 * 10 + 12]).toBeCloseTo(4 / 3);
  expect(found.falls[28 * 8 + 14]).toBeCloseTo(4 / 3); // the square's corner is on it
  expect(found.falls[28 * 20 + 20]).toBeCloseTo(2 / 3);
  expect(found.falls[28 * 8 + 15]).toBe(0); // no ink within the square
  expect(found.change!.label).toBe(9);
  expect(Math.abs(found.change!.row - 10)).toBeLessThanOrEqual(2);
});

test("no square that changes the answer", async () => {
  expect((await occlusion(picture([3, 3]), answer))!.change).toBeNull();
});

test("none of these is a change, too", async () => {
  const unsure = async (pictures: Uint8Array, count: number) => {
    const { logits, probabilities } = await answer(pictures, count);
    return { logits, probabilities: probabilities.map((share, i) => (i % 10 === 9 ? 0 : share)) };
  };
  expect((await occlusion(picture([10, 12]), unsure))!.change!.label).toBeNull();
});

test("it ends when there is something else to read", async () => {
  expect(await occlusion(picture([10, 12]), answer, () => true)).toBeNull();
});
