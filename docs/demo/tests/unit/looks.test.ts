import { expect, test } from "vitest";

import { looksAt, probabilitiesOf } from "../../src/network";

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
