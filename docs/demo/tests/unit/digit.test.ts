import { PNG } from "pngjs";
import { describe, expect, test } from "vitest";

import { digitFromGrey, ENOUGH, findCharacter } from "../../src/pictures/character";
import { greyFromRgba } from "../../src/pictures/grey";
import { blockMeans, reduction } from "../../src/pictures/kernels";
import { NoDigit } from "../../src/pictures/refusals";
import { fixtures } from "../fixtures";

describe("a picture becomes the same bytes as in Python", () => {
  test.each(fixtures.map((fixture) => [fixture.name, fixture] as const))("%s", (_, { data, digit, atEdge, error }) => {
    const png = PNG.sync.read(data);
    const isOpaque = png.data.every((value, i) => i % 4 < 3 || value === 255);
    const factor = isOpaque ? reduction(png.height, png.width, ENOUGH) : 1; // step R2
    const [height, width] = [png.height, png.width].map((side) => Math.floor(side / factor));
    const grey = greyFromRgba(blockMeans(png.data, png.height, png.width, factor, 4), height, width);
    const made = () => {
      const { pixels, atEdge } = findCharacter(grey, height, width);
      return { digit: [...pixels], atEdge };
    };
    if (digit) expect(made()).toEqual({ digit, atEdge });
    else expect(made).toThrow(new NoDigit(error));
  });
});

test("both kinds of fixtures are there", () => {
  expect(fixtures.filter(({ digit }) => digit).length).toBeGreaterThan(20);
  expect(fixtures.filter(({ digit }) => !digit).length).toBeGreaterThan(3);
});

test("the result does not share memory with the picture", () => {
  const { digit } = fixtures.find(({ name }) => name === "mnist_like.png")!;
  const picture = Uint8Array.from(digit!);
  digitFromGrey(picture, 28, 28).fill(1);
  expect([...picture]).toEqual(digit);
});
