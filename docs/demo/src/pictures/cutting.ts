// One character of a strip by itself: lenet_zoo/pictures/cutting.py in TypeScript, whose docstring says how.

import { components, maskOf } from "./components";
import { boxOf, extreme, map, MAX, max, slice, type Grid } from "./kernels";
import { place } from "./placing";

const SIZE = 28;
const INK = 64;
const NEAR = 2;

/** Each character of a strip, alone, 28×28; `middles` are the columns in their middles, ascending. */
export function charactersAlone(pixels: Grid, middles: number[]): Uint8Array[] {
  const { height, width } = pixels;
  const mask = map(pixels, (value) => Number(value >= INK));
  const pieces = components(mask);
  const edges = [0, ...middles.slice(1).map((at, i) => Math.ceil((middles[i] + at) / 2)), width];
  const ink = pieces.pieces.map(() => middles.map(() => 0));
  for (let x = 0, cell = 0; x < width; x++) {
    while (cell < middles.length - 1 && x >= edges[cell + 1]) cell++;
    for (let y = 0; y < height; y++) {
      const label = pieces.labels[y * width + x];
      if (label) ink[label - 1][cell]++;
    }
  }
  const owner = pieces.pieces.map(({ box: [, , left, right] }, i) => {
    const over = middles.filter((at) => left <= at && at < right).length;
    return over > 1 ? -1 : ink[i].indexOf(max(ink[i]));
  });
  const index = new Map(pieces.pieces.map((piece, i) => [piece, i]));
  const ownerOf = (piece: (typeof pieces.pieces)[number]) => owner[index.get(piece)!];
  const shared = maskOf(pieces, height, width, (piece) => ownerOf(piece) < 0);
  return middles.map((_, i) => {
    const own = pieces.pieces.filter((piece) => ownerOf(piece) === i);
    const largest = own.reduce((best, piece) => (piece.area > best.area ? piece : best), own[0]);
    const here = maskOf(pieces, height, width, (piece) => {
      const [, , left, right] = piece.box;
      if (ownerOf(piece) !== i) return false;
      const beside = left < largest.box[3] + NEAR && right > largest.box[2] - NEAR;
      return beside || 4 * piece.area >= largest.area;
    });
    const part = withoutRemnants(slice(shared, 0, height, edges[i], edges[i + 1]));
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = edges[i]; x < edges[i + 1]; x++, at++) here.data[y * width + x] |= part.data[at];
    }
    const near = extreme(here, 1, MAX).data;
    const alone = map(pixels, (value, at) => (near[at] && (here.data[at] || !mask.data[at]) ? value : 0));
    const box = boxOf(here) && boxOf(alone);
    return box ? place(slice(alone, ...box), SIZE) : new Uint8Array(SIZE * SIZE);
  });
}

/** Step 4 of what is left of touching characters in one cell. */
function withoutRemnants(part: Grid): Grid {
  const pieces = components(part);
  const largest = max(pieces.pieces.map(({ area }) => area));
  return maskOf(pieces, part.height, part.width, ({ sides, area }) => !(sides[2] || sides[3]) || 5 * area >= largest);
}
