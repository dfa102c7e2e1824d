// Loops over pictures, all in whole numbers: lenet_zoo/pictures/kernels.py in TypeScript.
//
// Everything is below 2^53, which float64 holds exactly; where a quotient remains, as in Otsu's threshold, it is the
// same float64 quotient on both sides.

/** Levels 0 … 255, or a mask of 0 and 1, row by row. */
export interface Grid {
  data: Uint8Array;
  height: number;
  width: number;
}

/** First row, row after the last, first column, column after the last. */
export type Box = [top: number, bottom: number, left: number, right: number];

/** Which end of a window `extreme` takes. */
export type Sign = 1 | -1;
export const MAX: Sign = 1;
export const MIN: Sign = -1;

export function floorDiv(numerator: number, denominator: number): number {
  return Math.floor(numerator / denominator);
}

/** To the nearest whole number, halves up. */
export function nearest(numerator: number, denominator: number): number {
  return Math.floor((2 * numerator + denominator) / (2 * denominator));
}

/** As Python rounds: halves to the even number. */
export function roundEven(value: number): number {
  const lower = Math.floor(value);
  if (value - lower !== 0.5) return Math.round(value);
  return lower % 2 ? lower + 1 : lower;
}

export function clip(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

export function max(values: ArrayLike<number>): number {
  let most = -Infinity;
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i];
  return most;
}

/** Of an even number of values, the mean of both in the middle. */
export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** n² times the variance: n·Σv² − (Σv)². */
export function spread(values: ArrayLike<number>): number {
  let total = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    total += values[i];
    squares += values[i] ** 2;
  }
  return values.length * squares - total ** 2;
}

// ---- Shapes ----------------------------------------------------------------------------------------------------------

export function map({ data, height, width }: Grid, change: (value: number, i: number) => number): Grid {
  const out = new Uint8Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = change(data[i], i);
  return { data: out, height, width };
}

export function slice(grid: Grid, top: number, bottom: number, left: number, right: number): Grid {
  const out = { data: new Uint8Array((bottom - top) * (right - left)), height: bottom - top, width: right - left };
  for (let y = top; y < bottom; y++) {
    out.data.set(grid.data.subarray(y * grid.width + left, y * grid.width + right), (y - top) * out.width);
  }
  return out;
}

export function pad(grid: Grid, by: number): Grid {
  const [height, width] = [grid.height + 2 * by, grid.width + 2 * by];
  const out = { data: new Uint8Array(height * width), height, width };
  for (let y = 0; y < grid.height; y++) {
    out.data.set(grid.data.subarray(y * grid.width, (y + 1) * grid.width), (y + by) * width + by);
  }
  return out;
}

export function transpose({ data, height, width }: Grid): Grid {
  const out = new Uint8Array(data.length);
  for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i++) out[x * height + y] = data[i];
  return { data: out, height: width, width: height };
}

/** The border's values, each once or, in a picture one pixel wide, twice. */
export function ring(data: ArrayLike<number>, height: number, width: number): number[] {
  const values: number[] = [];
  for (const y of [0, height - 1]) for (let x = 0; x < width; x++) values.push(data[y * width + x]);
  for (const x of [0, width - 1]) for (let y = 1; y < height - 1; y++) values.push(data[y * width + x]);
  return values;
}

/** The box of what is at least `least`; null where nothing is. */
export function boxOf({ data, height, width }: Grid, least = 1): Box | null {
  const box: Box = [height, 0, width, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] < least) continue;
      if (y < box[0]) box[0] = y;
      box[1] = y + 1;
      if (x < box[2]) box[2] = x;
      if (x >= box[3]) box[3] = x + 1;
    }
  }
  return box[1] ? box : null;
}

/** Of the edges between pixels those that part ink from paper; beyond the picture lies paper. */
export function edgeCount(mask: Grid): number {
  const { data, height, width } = pad(mask, 1);
  let edges = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (x && data[i] !== data[i - 1]) edges += 1;
      if (y && data[i] !== data[i - width]) edges += 1;
    }
  }
  return edges;
}

/** The mean width of the strokes of a mask that is not empty, in pixels, rounded down. */
export function meanStroke(mask: Grid): number {
  return floorDiv(5 * sum(mask.data), 2 * edgeCount(mask));
}

/** Σ value · row and Σ value · column. */
export function moments({ data, height, width }: Grid): [number, number] {
  let rows = 0;
  let columns = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      rows += data[i] * y;
      columns += data[i] * x;
    }
  }
  return [rows, columns];
}

// ---- Resampling ------------------------------------------------------------------------------------------------------

/** The largest power of two that leaves `enough` pixels of a picture's longer side, and one of its shorter. */
export function reduction(height: number, width: number, enough: number): number {
  let factor = 1;
  while (Math.max(height, width) / (2 * factor) >= enough && Math.min(height, width) >= 2 * factor) factor *= 2;
  return factor;
}

/**
 * Means of factor × factor blocks, to the nearest, halves up; rows and columns that fill no block are left out.
 * Of each pixel, `channels` values stand side by side.
 */
export function blockMeans(
  data: ArrayLike<number>,
  height: number,
  width: number,
  factor: number,
  channels: number,
): Uint8Array {
  const [rows, columns] = [floorDiv(height, factor), floorDiv(width, factor)];
  const out = new Uint8Array(rows * columns * channels);
  const totals = new Float64Array(columns * channels);
  for (let row = 0; row < rows; row++) {
    totals.fill((factor * factor) >> 1);
    for (let y = row * factor; y < (row + 1) * factor; y++) {
      for (let x = 0, i = y * width * channels; x < columns * factor; x++) {
        const to = Math.trunc(x / factor) * channels;
        for (let channel = 0; channel < channels; channel++, i++) totals[to + channel] += data[i];
      }
    }
    const from = row * columns * channels;
    for (let i = 0; i < totals.length; i++) out[from + i] = floorDiv(totals[i], factor * factor);
  }
  return out;
}

/** `scaleTo`, of a picture of 4 times the size or more from the means of blocks. */
export function fit(grid: Grid, long: number): Grid {
  const factor = reduction(grid.height, grid.width, 2 * long);
  if (factor === 1) return scaleTo(grid, long);
  const data = blockMeans(grid.data, grid.height, grid.width, factor, 1);
  return scaleTo({ data, height: floorDiv(grid.height, factor), width: floorDiv(grid.width, factor) }, long);
}

/** Resample so that the longer side is `long` and the aspect is kept: rows first, each axis to the nearest. */
export function scaleTo(grid: Grid, long: number): Grid {
  const most = Math.max(grid.height, grid.width);
  const side = (length: number) => Math.max(1, nearest(length * long, most));
  return resampled(grid, side(grid.height), side(grid.width));
}

/** Means of areas along an axis that shrinks, linear between pixel centres along one that grows: rows first. */
export function resampled(grid: Grid, height: number, width: number): Grid {
  return transpose(resampleRows(transpose(resampleRows(grid, height)), width));
}

/** Each row moved by its shift, to the right where that is positive; both sides have room for the largest. */
export function sheared({ data, height, width }: Grid, shifts: number[]): Grid {
  const room = Math.max(...shifts.map(Math.abs));
  const out = { data: new Uint8Array(height * (width + 2 * room)), height, width: width + 2 * room };
  shifts.forEach((shift, y) => out.data.set(data.subarray(y * width, (y + 1) * width), y * out.width + shift + room));
  return out;
}

/** Averages areas when it shrinks, interpolates between pixel centres when it enlarges. */
function resampleRows({ data, height: before, width }: Grid, after: number): Grid {
  const out = { data: new Uint8Array(after * width), height: after, width };
  for (let i = 0; i < after; i++) {
    // New row i is the sum of old rows, each times its share, divided by `whole`.
    const shares: [row: number, share: number][] = [];
    let whole = before;
    if (after < before) {
      // It covers the old rows from i·before/after to (i + 1)·before/after.
      for (let row = floorDiv(i * before, after); row * after < (i + 1) * before; row++) {
        shares.push([row, Math.min((i + 1) * before, (row + 1) * after) - Math.max(i * before, row * after)]);
      }
    } else {
      whole = 2 * after;
      const place = (2 * i + 1) * before - after;
      const lower = floorDiv(place, whole);
      const fraction = place - lower * whole;
      shares.push([Math.max(lower, 0), whole - fraction], [Math.min(lower + 1, before - 1), fraction]);
    }
    for (let x = 0; x < width; x++) {
      let total = 0;
      for (const [row, share] of shares) total += share * data[row * width + x];
      out.data[i * width + x] = nearest(total, whole);
    }
  }
  return out;
}

// ---- Windows ---------------------------------------------------------------------------------------------------------

/** The mean, rounded down, over a window of 2·radius + 1 rows and then columns, as far as the picture goes. */
export function windowMean(grid: Grid, radius: number): Grid {
  return transpose(meanOfRows(transpose(meanOfRows(grid, radius)), radius));
}

function meanOfRows({ data, height, width }: Grid, radius: number): Grid {
  const out = { data: new Uint8Array(data.length), height, width };
  for (let x = 0; x < width; x++) {
    let total = 0;
    let start = 0;
    let end = 0;
    for (let y = 0; y < height; y++) {
      while (end < Math.min(y + radius + 1, height)) total += data[end++ * width + x];
      while (start < y - radius) total -= data[start++ * width + x];
      out.data[y * width + x] = floorDiv(total, end - start);
    }
  }
  return out;
}

/** The maximum (MAX) or minimum (MIN) over a square of 2·radius + 1, as far as the picture goes. */
export function extreme(grid: Grid, radius: number, sign: Sign): Grid {
  return transpose(extremeOfRows(transpose(extremeOfRows(grid, radius, sign)), radius, sign));
}

/** The same over 2·radius + 1 rows: windows of 1, 2, 4, … rows, and at last two that overlap. */
export function extremeOfRows({ data, height, width }: Grid, radius: number, sign: Sign): Grid {
  const reach = Math.min(radius, height - 1);
  // Repeating the end row adds nothing to a window that holds it already.
  let rows = height + 2 * reach;
  const window = new Uint8Array(rows * width);
  for (let y = 0; y < rows; y++) {
    const from = clip(y - reach, 0, height - 1) * width;
    window.set(data.subarray(from, from + width), y * width);
  }
  for (let span = 1, wanted = 2 * reach + 1; span < wanted;) {
    const step = Math.min(span, wanted - span);
    rows -= step;
    const [end, ahead] = [rows * width, step * width];
    if (sign === MAX) for (let i = 0; i < end; i++) window[i] = Math.max(window[i], window[i + ahead]);
    else for (let i = 0; i < end; i++) window[i] = Math.min(window[i], window[i + ahead]);
    span += step;
  }
  return { data: window.slice(0, height * width), height, width };
}

// ---- Threshold -------------------------------------------------------------------------------------------------------

/**
 * Otsu's threshold (levels of at least it are the upper class) and the means of both classes, rounded down. Of several
 * thresholds that are equally good, the lowest. On one level only: 256, and both means are it.
 */
export function otsu(levels: Uint8Array): [threshold: number, lower: number, upper: number] {
  const counts = new Array<number>(256).fill(0);
  for (const level of levels) counts[level] += 1;
  const count = levels.length;
  const total = sum(levels);
  let below = 0;
  let sumBelow = 0;
  let best = { score: -1, at: 255, below: 0, sumBelow: 0 };
  for (let at = 0; at < 256; at++) {
    below += counts[at];
    sumBelow += counts[at] * at;
    const weight = below * (count - below);
    if (!weight) continue;
    const distance = count * sumBelow - below * total;
    const score = (distance * distance) / weight;
    if (score > best.score) best = { score, at, below, sumBelow };
  }
  if (!best.below) return [256, floorDiv(total, count), floorDiv(total, count)];
  const upper = floorDiv(total - best.sumBelow, count - best.below);
  return [best.at + 1, floorDiv(best.sumBelow, best.below), upper];
}
