// The connected pieces of a mask: lenet_zoo/pictures/components.py in TypeScript.

import { floorDiv, type Box, type Grid } from "./kernels";

export interface Piece {
  box: Box;
  height: number;
  width: number;
  /** In pixels. */
  area: number;
  /** Area times nearness to the middle: the asked character counts, not its neighbour. */
  weight: number;
  /** Pixels in the first row, the last row, the first column, the last column. */
  sides: [number, number, number, number];
}

export interface Pieces {
  /** In the order of their first pixels. */
  pieces: Piece[];
  /** For each pixel its piece, counted from 1; 0 outside. */
  labels: Int32Array;
}

/** 256 in the middle of an axis, falling evenly to the ends. */
function nearness(length: number): number[] {
  return Array.from({ length }, (_, i) => floorDiv(512 * Math.min(i + 1, length - i), length + 1));
}

/** 8-connected pieces. */
export function components({ data, height, width }: Grid): Pieces {
  // Runs along the rows, joined where they touch; the root of a piece is its first run.
  const runs: { y: number; start: number; end: number }[] = [];
  const parents: number[] = [];
  const root = (run: number) => {
    while (parents[run] !== run) run = parents[run] = parents[parents[run]];
    return run;
  };
  let above = 0; // the first run of the row above
  for (let y = 0; y < height; y++) {
    const here = runs.length;
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      const start = x;
      while (x < width && data[y * width + x]) x++;
      const run = runs.length;
      runs.push({ y, start, end: x });
      parents.push(run);
      while (above < here && runs[above].end < start) above++; // corners touch
      for (let other = above; other < here && runs[other].start <= x; other++) {
        const [a, b] = [root(other), root(run)];
        parents[Math.max(a, b)] = Math.min(a, b);
      }
    }
    above = here;
  }
  const [rowNearness, columnNearness] = [nearness(height), nearness(width)];
  const labels = new Int32Array(data.length);
  const pieces: Piece[] = [];
  const labelOf: number[] = [];
  runs.forEach(({ y, start, end }, run) => {
    const first = root(run);
    if (first === run) {
      pieces.push({ box: [y, y, start, end], height: 0, width: 0, area: 0, weight: 0, sides: [0, 0, 0, 0] });
      labelOf[run] = pieces.length;
    }
    labelOf[run] = labelOf[first];
    labels.fill(labelOf[run], y * width + start, y * width + end);
    const piece = pieces[labelOf[run] - 1];
    const { box, sides } = piece;
    box[1] = y + 1;
    box[2] = Math.min(box[2], start);
    box[3] = Math.max(box[3], end);
    piece.area += end - start;
    for (let x = start; x < end; x++) piece.weight += rowNearness[y] * columnNearness[x];
    if (y === 0) sides[0] += end - start;
    if (y === height - 1) sides[1] += end - start;
    if (start === 0) sides[2] += 1;
    if (end === width) sides[3] += 1;
  });
  for (const piece of pieces) {
    const [top, bottom, left, right] = piece.box;
    piece.height = bottom - top;
    piece.width = right - left;
  }
  return { pieces, labels };
}

/** The piece of the largest weight. */
export function central(pieces: Piece[]): Piece {
  return pieces.reduce((best, piece) => (piece.weight > best.weight ? piece : best));
}

/** The pixels of the pieces that `keep` holds of. */
export function maskOf(
  { pieces, labels }: Pieces,
  height: number,
  width: number,
  keep: (piece: Piece) => boolean,
): Grid {
  const kept = [0, ...pieces.map((piece) => Number(keep(piece)))];
  const data = new Uint8Array(labels.length);
  for (let i = 0; i < data.length; i++) data[i] = kept[labels[i]];
  return { data, height, width };
}

/** A mask with the holes that the paper outside does not reach. */
export function filledOf({ data, height, width }: Grid): Grid {
  const paper = components({ data: data.map((value) => 1 - value), height, width });
  const outside = maskOf(paper, height, width, ({ sides }) => sides.some(Boolean));
  return { ...outside, data: outside.data.map((value) => 1 - value) };
}

/** For each pixel of a mask the length of its run along the row; 0 elsewhere. */
export function runLengths({ data, height, width }: Grid): Int32Array {
  const lengths = new Int32Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      const start = x;
      while (x < width && data[y * width + x]) x++;
      lengths.fill(x - start, y * width + start, y * width + x);
    }
  }
  return lengths;
}
