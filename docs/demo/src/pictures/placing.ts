// Ink to a picture as MNIST has it: lenet_zoo/pictures/placing.py in TypeScript, steps 1 and 11 to 15.

import {
  boxOf,
  clip,
  edgeCount,
  extreme,
  extremeOfRows,
  floorDiv,
  map,
  max,
  MAX,
  MIN,
  moments,
  nearest,
  pad,
  resampled,
  scaleTo,
  sheared,
  slice,
  spread,
  sum,
  transpose,
  type Grid,
  type Sign,
} from "./kernels";

/** Width by height. */
const WIDEST = [4, 3];
/** Tenths of a pixel of the 20 px box. */
const STROKE = [23, 33];

function boxSide(size: number): number {
  return floorDiv(2 * 20 * size + 28, 56);
}

/** Step 1. */
export function isNormal(digit: Grid, size: number): boolean {
  if (max(digit.data) < 250) return false;
  const [top, bottom, left, right] = boxOf(digit)!;
  const long = Math.max(bottom - top, right - left);
  if (long !== boxSide(size) && long !== boxSide(size) - 1) return false;
  const mass = sum(digit.data);
  return moments(digit).every((moment) => 100 * Math.abs(2 * moment - size * mass) <= 104 * mass);
}

/** Step 11. */
export function upright(ink: Grid): Grid {
  const rows: number[] = [];
  const columns: number[] = [];
  ink.data.forEach((value, i) => {
    if (value < 128) return;
    rows.push(floorDiv(i, ink.width));
    columns.push(i % ink.width);
  });
  const products = sum(rows.map((row, i) => row * columns[i]));
  const across = sum(rows) * sum(columns) - rows.length * products;
  const along = spread(rows);
  const excess = 2 * Math.abs(across) - along;
  if (excess <= 0) return ink;
  const shifts = Array.from({ length: ink.height }, (_, y) =>
    nearest(Math.sign(across) * excess * (2 * y - (ink.height - 1)), 4 * along),
  );
  const straight = sheared(ink, shifts);
  const [, , left, right] = boxOf(straight, 64)!;
  return slice(straight, 0, ink.height, left, right);
}

/** Step 12. */
export function narrowed(ink: Grid): Grid {
  const widest = nearest(WIDEST[0] * ink.height, WIDEST[1]);
  return ink.width > widest ? resampled(ink, ink.height, widest) : ink;
}

/** Step 13; of several characters, the height `tall` of one takes the place of the longer side. */
export function evenStroke(ink: Grid, tall?: number): Grid {
  const long = tall ?? Math.max(ink.height, ink.width);
  const edges = edgeCount(map(ink, (value) => Number(value >= 128)));
  const width = floorDiv(500 * sum(ink.data), 255 * long * Math.max(edges, 1));
  const [least, most] = STROKE;
  if (width < least) {
    const turns = nearest((least - width) * long, 400);
    return stepwise(pad(ink, turns), turns, MAX);
  }
  const turns = width > most ? nearest((width - most) * long, 400) : 0;
  const thinner = stepwise(pad(ink, 1), turns, MIN);
  const box = boxOf(thinner, 128);
  return box ? slice(thinner, ...box) : ink;
}

/** Grow or shrink by `turns` pixels: a cross, then a square, and so on, which comes near to a disc. */
function stepwise(values: Grid, turns: number, sign: Sign): Grid {
  for (let turn = 0; turn < turns; turn++) {
    if (turn % 2) {
      values = extreme(values, 1, sign);
    } else {
      const along = transpose(extremeOfRows(transpose(values), 1, sign)).data;
      values = map(extremeOfRows(values, 1, sign), (value, i) => sign * Math.max(sign * value, sign * along[i]));
    }
  }
  return values;
}

/** Steps 14 and 15. */
export function place(ink: Grid, size: number): Uint8Array {
  const levels = scaleTo(ink, boxSide(size));
  const brightest = max(levels.data);
  const digit = map(levels, (value) => floorDiv(value * 255, brightest));
  const mass = sum(digit.data);
  const [row, column] = moments(digit).map((moment, axis) => {
    const shift = -floorDiv(2 * moment - (size - 1) * mass, 2 * mass);
    return clip(shift, 0, size - (axis ? digit.width : digit.height));
  });
  const field = new Uint8Array(size * size);
  for (let y = 0, i = 0; y < digit.height; y++) {
    for (let x = 0; x < digit.width; x++, i++) field[(row + y) * size + column + x] = digit.data[i];
  }
  return field;
}
