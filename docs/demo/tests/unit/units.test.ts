import { expect, test } from "vitest";

import { fieldOf, kernelsOf, placeOf, shownAs } from "../../src/units";
import networks from "../../src/networks.json";

const layerOf = (name: string) => networks[0].layers.find((layer) => layer.name === name)!;

test("a unit's field is what the layers before it reach, with 2 pixels of padding around the input", () => {
  const corner = { map: 3, row: 0, column: 0 };
  expect(fieldOf("C1", corner)).toEqual({ row: -2, column: -2, side: 5 });
  expect(fieldOf("S2", corner)).toEqual({ row: -2, column: -2, side: 6 });
  expect(fieldOf("C3", { map: 0, row: 9, column: 1 })).toEqual({ row: 16, column: 0, side: 14 });
  expect(fieldOf("F6", corner)).toEqual({ row: -2, column: -2, side: 32 });
  // The last unit of each layer ends where the padded input does.
  for (const name of ["C1", "S2", "C3", "S4"] as const) {
    const [, height, width] = layerOf(name).output;
    const { row, column, side } = fieldOf(name, { map: 0, row: height - 1, column: width - 1 });
    expect([row + side, column + side], name).toEqual([30, 30]);
  }
});

test("single units are shown as one picture, and found in it", () => {
  expect(shownAs(layerOf("C3"), false)).toEqual([10, 10]);
  expect(shownAs(layerOf("C5"), false)).toEqual([5, 24]);
  expect(shownAs(layerOf("F6"), true)).toEqual([12, 7]);
  expect(shownAs(layerOf("F6"), false)).toEqual([7, 12]);
  expect(placeOf(layerOf("C5"), 0, 2, 3, 24)).toEqual({ map: 51, row: 0, column: 0 });
  expect(placeOf(layerOf("S2"), 4, 2, 3, 14)).toEqual({ map: 4, row: 2, column: 3 });
});

test("a map's kernels are those over each map before it", () => {
  const data = Float32Array.from({ length: 16 * 6 * 25 }, (_, i) => i);
  const { pictures, height, width } = kernelsOf({ data, dims: [16, 6, 5, 5] }, 2);
  expect([pictures.length, height, width]).toEqual([6, 5, 5]);
  expect([...pictures[1].slice(0, 2)]).toEqual([2 * 150 + 25, 2 * 150 + 26]);
  const full = kernelsOf({ data: data.subarray(0, 84 * 12), dims: [84, 12] }, 1);
  expect([full.pictures.length, full.pictures[0][0]]).toEqual([1, 12]);
});
