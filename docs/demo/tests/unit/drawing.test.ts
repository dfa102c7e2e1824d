import { expect, test } from "vitest";

import samples from "../../src/samples.json";
import { digitFromDrawing, digitFromGrey } from "../../src/pictures/character";
import { boxOf } from "../../src/pictures/kernels";
import { NoDigit, SEVERAL } from "../../src/pictures/refusals";

const SIDE = 140;

/** Ink 255 on 0: lines through points of the unit square, drawn with a round pen. */
function drawing(strokes: number[][][], pen = 10): Uint8Array {
  const ink = new Uint8Array(SIDE * SIDE);
  for (const stroke of strokes) {
    for (let k = 1; k < stroke.length; k++) {
      const [[x0, y0], [x1, y1]] = [stroke[k - 1], stroke[k]];
      for (let step = 0; step <= SIDE; step++) {
        const x = (x0 + ((x1 - x0) * step) / SIDE) * SIDE;
        const y = (y0 + ((y1 - y0) * step) / SIDE) * SIDE;
        for (let i = Math.max(0, Math.ceil(y - pen / 2)); i <= Math.min(SIDE - 1, y + pen / 2); i++) {
          for (let j = Math.max(0, Math.ceil(x - pen / 2)); j <= Math.min(SIDE - 1, x + pen / 2); j++) {
            if ((i - y) ** 2 + (j - x) ** 2 <= (pen / 2) ** 2) ink[i * SIDE + j] = 255;
          }
        }
      }
    }
  }
  return ink;
}

function boxOfDigit(pixels: Uint8Array): number[] {
  return boxOf({ data: pixels, height: 28, width: 28 }, 64)!;
}

test.each(samples.map(({ label, strokes }) => [label, strokes] as const))(
  "the drawn %i is the same digit as in a picture of it, within a pixel",
  (_, strokes) => {
    const ink = drawing(strokes);
    const drawn = boxOfDigit(digitFromDrawing(ink, SIDE, SIDE));
    const pictured = boxOfDigit(digitFromGrey(ink, SIDE, SIDE));
    drawn.forEach((edge, i) => expect(Math.abs(edge - pictured[i])).toBeLessThanOrEqual(1));
  },
);

test("a drawing may fill the pad: no sheet is looked for, and its lines are no rules", () => {
  const ring = [
    [0.02, 0.02],
    [0.98, 0.02],
    [0.98, 0.98],
    [0.02, 0.98],
    [0.02, 0.02],
  ];
  const zero = digitFromDrawing(
    drawing([
      ring,
      [
        [0.5, 0.3],
        [0.5, 0.7],
      ],
    ]),
    SIDE,
    SIDE,
  );
  expect(zero[14 * 28 + 5]).toBeGreaterThan(128); // the ring is still there
  expect(zero[14 * 28 + 14]).toBeGreaterThan(128);

  const barred = drawing([
    [
      [0.5, 0.1],
      [0.5, 0.9],
    ],
    [
      [0, 0.5],
      [1, 0.5],
    ],
  ]);
  const [, , left, right] = boxOfDigit(digitFromDrawing(barred, SIDE, SIDE));
  expect(right - left).toBe(20); // the bar is still there
});

test("a stroke at the edge of the pad is no neighbour's", () => {
  const five = drawing([
    [
      [0.3, 0.2],
      [0.3, 0.5],
      [0.6, 0.6],
      [0.5, 0.9],
      [0.2, 0.9],
    ],
    [
      [0.5, 0.06],
      [0.97, 0.0],
    ],
  ]);
  const [, , left, right] = boxOfDigit(digitFromDrawing(five, SIDE, SIDE));
  expect(right - left).toBeGreaterThan(15);
});

test("two digits are several", () => {
  const half = (strokes: number[][][], at: number) =>
    strokes.map((line) => line.map(([x, y]) => [at + 0.5 * x, 0.25 + 0.5 * y]));
  const both = drawing([...half(samples[3].strokes, 0), ...half(samples[4].strokes, 0.5)], 8);
  expect(() => digitFromDrawing(both, SIDE, SIDE)).toThrow(new NoDigit(SEVERAL));
});

test("nothing drawn is no digit", () => {
  expect(() => digitFromDrawing(new Uint8Array(SIDE * SIDE), SIDE, SIDE)).toThrow(
    new NoDigit("no digit: the picture is of one tone"),
  );
});
