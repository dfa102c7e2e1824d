import { expect, test } from "vitest";

import { looksAt, Network, networks, probabilitiesOf } from "../../src/network";

const picture = Uint8Array.from({ length: 784 }, (_, i) => (i % 255) + 1);
const at = (pixels: Uint8Array, look: number, y: number, x: number) => pixels[(look * 28 + y) * 28 + x];

test("one look is the picture as it stands", () => {
  expect(looksAt(picture, 1)).toEqual(picture);
});

test("five looks are it and a pixel to each side, over background", () => {
  const looks = looksAt(picture, 5);
  expect(looks.length).toBe(5 * 784);
  expect(looks.slice(0, 784)).toEqual(picture);
  [
    [-1, 0],
    [1, 0],
    [0, -1],
    [0, 1],
  ].forEach(([down, right], k) => {
    for (let y = 0; y < 28; y++)
      for (let x = 0; x < 28; x++) {
        const [from, beside] = [y - down, x - right];
        const inside = from >= 0 && from < 28 && beside >= 0 && beside < 28;
        expect(at(looks, k + 1, y, x)).toBe(inside ? at(picture, 0, from, beside) : 0);
      }
  });
});

test("the edge of a picture has its own temperature, where there is one", () => {
  const logits = Float32Array.from([2, 0]);
  const odds = (confidence: Parameters<typeof probabilitiesOf>[1], atEdge: boolean) =>
    probabilitiesOf(logits, confidence, atEdge)[0];
  expect(odds({ temperature: 1 }, true)).toBeCloseTo(1 / (1 + Math.exp(-2)), 6);
  expect(odds({ temperature: 1, edge_temperature: 2 }, true)).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
  expect(odds({ temperature: 1, edge_temperature: 2 }, false)).toBeCloseTo(1 / (1 + Math.exp(-2)), 6);
  expect(odds({ temperature: 2, j: 1 }, false)).toBeCloseTo(Math.E / (Math.E + 1 + Math.exp(-0.5)), 6);
});

/** Of each picture's pixels, the first ink decides: its row and column are the first two logits. */
const session = {
  async run({ pixels }: { pixels: { data: Uint8Array; dims: readonly number[] } }) {
    const [count] = pixels.dims;
    const logits = new Float32Array(count * 10);
    for (let k = 0; k < count; k++) {
      const first = pixels.data.subarray(784 * k, 784 * (k + 1)).findIndex(Boolean);
      logits.set([Math.floor(first / 28), first % 28], 10 * k);
    }
    const layer = { data: new Float32Array(5 * count) };
    return { logits: { data: logits }, C1: layer, S2: layer, C3: layer, S4: layer, C5: layer, F6: layer };
  },
};

test("many pictures get the mean of their looks, each as if it were read alone", async () => {
  const description = networks.find(({ looks }) => looks === 5)!;
  const network: Network = new (Network as never as new (...given: unknown[]) => Network)(description, session);
  const pixels = new Uint8Array(2 * 784);
  pixels[28 * 3 + 5] = 255;
  pixels[784 + 28 * 9 + 0] = 255;
  const { logits, probabilities } = await network.readMany(pixels, 2);
  expect(logits.length).toBe(20);
  expect(logits[0]).toBeCloseTo(3);
  expect(logits[1]).toBeCloseTo(5);
  expect(logits[10]).toBeCloseTo((9 + 8 + 10 - 1 + 9) / 5); // its ink is beyond the edge in one look
  for (const k of [0, 1]) {
    const alone = await network.read(pixels.slice(784 * k, 784 * (k + 1)), false);
    expect(probabilities.slice(10 * k, 10 * (k + 1))).toEqual(alone.probabilities);
  }
});
