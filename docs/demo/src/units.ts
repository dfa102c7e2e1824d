// Where the units of each layer stand, what of the input they see, and by which weights.

import type { Kernels, Layer, LayerName } from "./network";

/** A unit of a layer: its map, its row and its column; all but the map are 0 in layers of single units. */
export interface Place {
  map: number;
  row: number;
  column: number;
}

/** First row, first column and side of the square of input pixels that a unit sees; the input has 28, and 2 around it. */
export interface Field {
  row: number;
  column: number;
  side: number;
}

/** Per layer, from the paper's Fig. 2: input pixels from one unit to the next, and the side of what a unit sees. */
const FIELDS: Record<LayerName, [step: number, side: number]> = {
  C1: [1, 5],
  S2: [2, 6],
  C3: [2, 14],
  S4: [4, 16],
  C5: [0, 32],
  F6: [0, 32],
};
const PADDING = 2;

export const BEFORE: Record<LayerName, LayerName | null> = {
  C1: null,
  S2: "C1",
  C3: "S2",
  S4: "C3",
  C5: "S4",
  F6: "C5",
};

export function fieldOf(layer: LayerName, { row, column }: Place): Field {
  const [step, side] = FIELDS[layer];
  return { row: step * row - PADDING, column: step * column - PADDING, side };
}

/** Height and width of the picture that a layer is shown as: of each map, or of all its single units. */
export function shownAs({ name, output: [count, height = 1, width = 1] }: Layer, bitmap: boolean): [number, number] {
  if (height * width > 1) return [height, width];
  if (bitmap) return [12, 7];
  return name === "C5" ? [5, count / 5] : [7, count / 7];
}

/** The unit at a row and a column of what `shownAs` describes. */
export function placeOf(
  { output: [, height = 1, width = 1] }: Layer,
  map: number,
  row: number,
  column: number,
  across: number,
): Place {
  return height * width > 1 ? { map, row, column } : { map: row * across + column, row: 0, column: 0 };
}

/** The weights of one map or unit: one picture for each map before, or one of all units before. */
export function kernelsOf(
  { data, dims }: Kernels,
  map: number,
): { pictures: Float32Array[]; height: number; width: number } {
  const [, count, height = 1, width = 1] = dims;
  const own = data.subarray(map * count * height * width, (map + 1) * count * height * width);
  if (height * width === 1) return { pictures: [own], height: 5, width: count / 5 };
  const pictures = Array.from({ length: count }, (_, i) => own.subarray(i * height * width, (i + 1) * height * width));
  return { pictures, height, width };
}
