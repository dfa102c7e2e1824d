// Any picture of one character → a 28×28 digit as MNIST was made: lenet_zoo/pictures/character.py in TypeScript.
//
// The steps G1, G2 and 1 to 12 are specified in that module's docstring; functions here bear its names. Both sides give
// the same bytes from the same pixels (tests/fixtures/pictures): everything is whole numbers below 2^53, which float64
// holds exactly, and where a quotient remains it is the same float64 quotient.

/** There is no digit in the picture; the message says why. */
export class NoDigit extends Error {}

/** A matrix of whole numbers, row by row. */
interface Grid {
  data: Int32Array;
  height: number;
  width: number;
}

type Box = [top: number, bottom: number, left: number, right: number];

/** The working picture of step 2. */
const LEAST_SIDE = 112;
const MOST_SIDE = 256;
/** Tenths of a pixel of the 20 px box. */
const STROKE = [26, 35];

// ---- Pixels to grey --------------------------------------------------------------------------------------------------

/** Steps G1 and G2: RGBA, alpha not premultiplied → grey levels. */
export function greyFromRgba(rgba: Uint8ClampedArray | Uint8Array, height: number, width: number): Uint8Array {
  const size = height * width;
  const channels = [0, 1, 2].map((k) => Uint8Array.from({ length: size }, (_, i) => rgba[4 * i + k]));
  const alpha = Uint8Array.from({ length: size }, (_, i) => rgba[4 * i + 3]);
  if (alpha.some((a) => a < 255)) {
    const backdrop = backdropOf(lumaOf(channels), alpha);
    for (const channel of channels) {
      for (let i = 0; i < size; i++) {
        channel[i] = floorDiv(channel[i] * alpha[i] + backdrop * (255 - alpha[i]) + 127, 255);
      }
    }
  }
  const luma = lumaOf(channels);
  const spreads = channels.map((channel) => spread(fit({ data: Int32Array.from(channel), height, width })));
  const widest = spreads.indexOf(Math.max(...spreads));
  return spreads[widest] > 4 * spread(fit({ data: Int32Array.from(luma), height, width })) ? channels[widest] : luma;
}

function lumaOf([red, green, blue]: Uint8Array[]): Uint8Array {
  const luma = new Uint8Array(red.length);
  for (let i = 0; i < luma.length; i++) luma[i] = (19595 * red[i] + 38470 * green[i] + 7471 * blue[i] + 32768) >> 16;
  return luma;
}

function backdropOf(luma: Uint8Array, alpha: Uint8Array): number {
  const opaque = luma.filter((_, i) => alpha[i] >= 128).sort();
  if (!opaque.length) return 255;
  const median = opaque[(opaque.length - 1) >> 1];
  const away = opaque.reduce((count, level) => count + Number(Math.abs(level - median) > 64), 0);
  if (200 * away > opaque.length) return median;
  return median < 128 ? 255 : 0;
}

function spread({ data }: Grid): number {
  const mean = floorDiv(sum(data), data.length);
  let total = 0;
  for (const value of data) total += (value - mean) ** 2;
  return total;
}

// ---- The digit -------------------------------------------------------------------------------------------------------

/** Steps 1 to 12: grey levels of one character, row by row → size × size. Throws NoDigit. */
export function digitFromGrey(grey: Uint8Array, height: number, width: number, size = 28): Uint8Array {
  if (height === size && width === size) {
    for (const candidate of [grey, grey.map((level) => 255 - level)]) {
      if (isNormal({ data: Int32Array.from(candidate), height, width }, size)) return candidate.slice();
    }
  }
  return place(evenStroke(inkOf({ data: Int32Array.from(grey), height, width })), size);
}

function boxSide(size: number): number {
  return floorDiv(2 * 20 * size + 28, 56);
}

/** Step 1. */
function isNormal(digit: Grid, size: number): boolean {
  if (max(digit.data) < 250) return false;
  const [top, bottom, left, right] = boxOf(digit, (level) => level > 0);
  const long = Math.max(bottom - top, right - left);
  if (long !== boxSide(size) && long !== boxSide(size) - 1) return false;
  const mass = sum(digit.data);
  return moments(digit).every((moment) => 100 * Math.abs(2 * moment - size * mass) <= 104 * mass);
}

/** Steps 2 to 9: the ink alone, 0 … 255, cut to its box. */
function inkOf(grey: Grid): Grid {
  let crop = grey;
  for (let i = 0; i < 3; i++) {
    const fitted = fit(crop);
    const sheet = sheetOf(fitted);
    if (!sheet) break;
    crop = cut(crop, sheet, fitted);
  }
  const bright = inkIsBright(fit(crop));
  for (let turn = 0; ; turn++) {
    const picture = level(fit(crop));
    const { height, width } = picture;
    const side = Math.max(height, width);
    const rise = riseAbovePaper(bright ? picture : map(picture, (value) => -value));
    const [threshold, paper, ink] = otsu(rise.data);
    if (ink - paper < 12) throw new NoDigit("no digit: the picture is of one tone");
    const mask = map(rise, (value) => Number(value >= threshold));
    const original = Math.max(crop.height, crop.width);
    const pitch = Math.max(1, floorDiv(side, original));
    if (original >= 16) refuseNoise(rise, mask, ink - paper, pitch);
    refuseSoftLight(rise, mask, ink - paper, Math.max(pitch, 1 + floorDiv(side, 32)));
    const kept = pieces(rise, mask, floorDiv(threshold + ink, 2));
    const [top, bottom, left, right] = boxOf(kept, (value) => value > 0);
    const long = Math.max(bottom - top, right - left);
    if (2 * long < side) {
      const margin = floorDiv(long, 3) + 1;
      crop = cut(crop, [top - margin, bottom + margin, left - margin, right + margin], picture);
      if (turn < 3) continue;
    }
    if (long * Math.max(crop.height, crop.width) < 3 * side) {
      throw new NoDigit("no digit: the only mark is under 3 pixels");
    }
    const short = Math.min(bottom - top, right - left);
    if (long < 2 * short && 10 * sum(kept.data) >= 9 * (bottom - top) * (right - left)) {
      throw new NoDigit("no digit: the picture is full");
    }
    const near = extreme(kept, 1 + floorDiv(side, 32), MAX);
    const soft = map(rise, (value, i) => near.data[i] * clip(floorDiv((value - paper) * 255, ink - paper), 0, 255));
    return slice(soft, ...boxOf(soft, (value) => value >= 64));
  }
}

/** Step 2. */
function fit(grey: Grid): Grid {
  return scaleTo(grey, clip(Math.max(grey.height, grey.width), LEAST_SIDE, MOST_SIDE));
}

/** The part of a picture that a box marks in its fitted copy. */
function cut(grey: Grid, [top, bottom, left, right]: Box, fitted: Grid): Grid {
  const row = (at: number) => (at * grey.height) / fitted.height;
  const column = (at: number) => (at * grey.width) / fitted.width;
  return slice(
    grey,
    Math.max(0, Math.floor(row(top))),
    Math.min(grey.height, Math.ceil(row(bottom))),
    Math.max(0, Math.floor(column(left))),
    Math.min(grey.width, Math.ceil(column(right))),
  );
}

/** Step 3: the box of the sheet within a surround; null without a surround. */
function sheetOf(picture: Grid): Box | null {
  const [threshold, dark, bright] = otsu(picture.data);
  if (dark === bright) return null;
  const border = ring(picture);
  const upper = border.reduce((count, i) => count + Number(picture.data[i] >= threshold), 0);
  const isBright = 2 * upper >= border.length;
  const surround = map(picture, (value) => Number(value >= threshold === isBright));
  const reached = components(surround).labels.data;
  const outside = new Set(border.map((i) => reached[i]).filter(Boolean));
  const { labels, count } = components(map(surround, (value, i) => Number(!(value && outside.has(reached[i])))));
  if (!count) return null;
  const area = histogram(labels.data, count + 1).slice(1);
  const largest = area.indexOf(Math.max(...area)) + 1;
  const [top, bottom, left, right] = boxOf(labels, (label) => label === largest);
  const [height, width] = [bottom - top, right - left];
  const [long, short] = [Math.max(height, width), Math.min(height, width)];
  if (100 * area[largest - 1] < 85 * height * width || long >= 2 * short) return null;
  if (5 * height < 3 * picture.height || 5 * width < 3 * picture.width) return null;
  const edge = 1 + floorDiv(Math.max(picture.height, picture.width), 64);
  return [top + edge, bottom - edge, left + edge, right - edge];
}

/** Step 4. */
function inkIsBright(picture: Grid): boolean {
  const nearby = mean(picture, Math.max(1, floorDiv(Math.max(picture.height, picture.width), 3)));
  return skewness(minus(picture, borderPlane(picture))) + skewness(minus(mean(picture, 1), nearby)) > 0;
}

function skewness({ data }: Grid): number {
  let cubes = 0;
  let sizes = 0;
  for (const value of data) {
    const cube = value * value * value;
    cubes += cube;
    sizes += Math.abs(cube);
  }
  return cubes / Math.max(1, sizes);
}

/** The plane through the border pixels by least squares, in whole levels. */
function borderPlane({ data, height, width }: Grid): Grid {
  let count = 0;
  let total = 0;
  let rowSum = 0;
  let rowSquare = 0;
  let columnSum = 0;
  let columnSquare = 0;
  const row = (y: number) => 2 * y - (height - 1);
  const column = (x: number) => 2 * x - (width - 1);
  for (let y = 0; y < height; y++) {
    const inner = y > 0 && y < height - 1;
    for (let x = 0; x < width; x += inner && x === 0 ? Math.max(1, width - 1) : 1) {
      const value = data[y * width + x];
      count += 1;
      total += value;
      rowSum += row(y) * value;
      rowSquare += row(y) ** 2;
      columnSum += column(x) * value;
      columnSquare += column(x) ** 2;
    }
  }
  const plane = { data: new Int32Array(data.length), height, width };
  const middle = nearest(total, count);
  const rows = Array.from({ length: height }, (_, y) => (rowSquare ? nearest(row(y) * rowSum, rowSquare) : 0));
  const columns = Array.from({ length: width }, (_, x) =>
    columnSquare ? nearest(column(x) * columnSum, columnSquare) : 0,
  );
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) plane.data[i] = middle + rows[y] + columns[x];
  }
  return plane;
}

/** Step 5, first half. */
function level(picture: Grid): Grid {
  const flat = minus(picture, borderPlane(picture));
  const border = ring(picture);
  const variance = ({ data }: Grid) => {
    let total = 0;
    let squares = 0;
    for (const i of border) {
      total += data[i];
      squares += data[i] ** 2;
    }
    return border.length * squares - total ** 2;
  };
  return 2 * variance(flat) < variance(picture) ? flat : picture;
}

/** Step 5, second half: ≥ 0. */
function riseAbovePaper(picture: Grid): Grid {
  const radius = Math.max(1, floorDiv(3 * Math.max(picture.height, picture.width), 10));
  const paper = extreme(extreme(mean(picture, 1), radius, MIN), radius, MAX);
  return map(minus(picture, paper), (value) => Math.max(value, 0));
}

/** Otsu's threshold and the means of both classes, rounded down. */
function otsu(levels: Int32Array): [threshold: number, lower: number, upper: number] {
  const counts = histogram(levels, 512);
  const count = levels.length;
  const total = counts.reduce((sum, times, value) => sum + times * value, 0);
  let below = 0;
  let sumBelow = 0;
  let best = { score: -1, at: -1, below: 0, sumBelow: 0 };
  for (let at = 0; at < 511; at++) {
    below += counts[at];
    sumBelow += counts[at] * at;
    const weight = below * (count - below);
    if (!weight) continue;
    const distance = count * sumBelow - below * total;
    const score = (distance * distance) / weight;
    if (score > best.score) best = { score, at, below, sumBelow };
  }
  if (best.at < 0) return [512, floorDiv(total, count), floorDiv(total, count)];
  const upper = floorDiv(total - best.sumBelow, count - best.below);
  return [best.at + 1, floorDiv(best.sumBelow, best.below), upper];
}

/** Step 6, the background's steps from one original pixel to the next, which are `pitch` pixels apart. */
function refuseNoise(rise: Grid, mask: Grid, contrast: number, pitch: number): void {
  let calm = 0;
  let steps = 0;
  for (let y = 0; y < mask.height; y++) {
    for (let x = pitch, i = y * mask.width + pitch; x < mask.width; x++, i++) {
      if (mask.data[i] || mask.data[i - pitch]) continue;
      calm += 1;
      steps += Math.abs(rise.data[i] - rise.data[i - pitch]);
    }
  }
  if (contrast * calm < 4 * steps) throw new NoDigit("no digit: the picture is noise");
}

/** Step 6, the edge of the ink. */
function refuseSoftLight(rise: Grid, mask: Grid, contrast: number, radius: number): void {
  const inner = extreme(mask, 1, MIN);
  const climb = minus(extreme(rise, radius, MAX), extreme(rise, radius, MIN));
  let count = 0;
  let total = 0;
  for (let i = 0; i < mask.data.length; i++) {
    if (!mask.data[i] || inner.data[i]) continue;
    count += 1;
    total += climb.data[i];
  }
  if (4 * total < 3 * contrast * count) throw new NoDigit("no digit: the picture is light and shade without a stroke");
}

/** Step 7: the mask without edges, rules, specks and shadows, which are paler than `pale`. */
function pieces(rise: Grid, mask: Grid, pale: number): Grid {
  const { height, width } = mask;
  const { labels, count } = components(extreme(mask, 1, MAX));
  const area = new Array<number>(count + 1).fill(0);
  const depth = new Array<number>(count + 1).fill(0); // of the ink beyond `pale`
  const boxes = Array.from({ length: count + 1 }, (): Box => [height, 0, width, 0]);
  const runs = [0, 1, 2, 3].map(() => new Array<number>(count + 1).fill(0)); // along the four sides
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const label = labels.data[i];
      if (!label) continue;
      area[label] += 1;
      if (mask.data[i]) depth[label] += rise.data[i] - pale;
      const box = boxes[label];
      if (y < box[0]) box[0] = y;
      if (y >= box[1]) box[1] = y + 1;
      if (x < box[2]) box[2] = x;
      if (x >= box[3]) box[3] = x + 1;
      if (y === 0) runs[0][label] += 1;
      if (y === height - 1) runs[1][label] += 1;
      if (x === 0) runs[2][label] += 1;
      if (x === width - 1) runs[3][label] += 1;
    }
  }
  const all = Array.from({ length: count }, (_, i) => i + 1);
  const stray = new Set(
    all.filter((label) => {
      const [top, bottom, left, right] = boxes[label];
      const rule =
        (right - left === width && 10 * (bottom - top) <= height) ||
        (bottom - top === height && 10 * (right - left) <= width);
      return rule || runs.some((run, side) => 2 * run[label] >= (side < 2 ? width : height));
    }),
  );
  const long = ([top, bottom, left, right]: Box) => Math.max(bottom - top, right - left);
  let keep = all.filter((label) => !stray.has(label));
  const longest = keep.reduce((most, label) => Math.max(most, long(boxes[label])), 0);
  if (6 * longest < Math.max(height, width)) keep = all;
  const largest = keep.reduce((most, label) => Math.max(most, area[label]), 0);
  keep = keep.filter((label) => 20 * area[label] >= largest && depth[label] >= 0);
  if (!keep.length) throw new NoDigit("no digit: the picture is light and shade without a stroke");
  if (keep.length > 12) throw new NoDigit("no digit: the picture is noise");
  const kept = new Set(keep);
  return map(mask, (value, i) => Number(value && kept.has(labels.data[i])));
}

/** 8-connected pieces: their labels (0 outside, then 1, 2, … in order of their first pixel) and their number. */
function components({ data, height, width }: Grid): { labels: Grid; count: number } {
  // Runs along the rows, joined where they touch; the root of a piece is its first run.
  const runs: { start: number; end: number; label: number }[] = []; // places in `data`
  const parents: number[] = [];
  const root = (run: number) => {
    while (parents[run] !== run) run = parents[run] = parents[parents[run]];
    return run;
  };
  let above = 0; // the first run of the row above
  let here = 0;
  for (let y = 0; y < height; y++) {
    let other = above;
    const next = runs.length;
    for (let i = y * width; i < (y + 1) * width; i++) {
      if (!data[i]) continue;
      const start = i;
      while (i < (y + 1) * width && data[i]) i++;
      const run = runs.length;
      runs.push({ start, end: i, label: 0 });
      parents.push(run);
      // `start` and `end` of the row above are one width less; corners touch.
      while (other < here && runs[other].end + width < start) other++;
      for (let k = other; k < here && runs[k].start + width <= i; k++) {
        const [a, b] = [root(k), root(run)];
        parents[Math.max(a, b)] = Math.min(a, b);
      }
    }
    above = next;
    here = runs.length;
  }
  const labels = { data: new Int32Array(data.length), height, width };
  let count = 0;
  runs.forEach((run, i) => {
    const first = root(i);
    run.label = first === i ? ++count : runs[first].label;
    labels.data.fill(run.label, run.start, run.end);
  });
  return { labels, count };
}

/** Step 10. */
function evenStroke(ink: Grid): Grid {
  const long = Math.max(ink.height, ink.width);
  const inside = pad(
    map(ink, (value) => Number(value >= 128)),
    1,
  );
  let edges = 0;
  for (let y = 0, i = 0; y < inside.height; y++) {
    for (let x = 0; x < inside.width; x++, i++) {
      if (x && inside.data[i] !== inside.data[i - 1]) edges += 1;
      if (y && inside.data[i] !== inside.data[i - inside.width]) edges += 1;
    }
  }
  const width = floorDiv(500 * sum(ink.data), 255 * long * Math.max(edges, 1));
  const [least, most] = STROKE;
  if (width < least) {
    const turns = nearest((least - width) * long, 400);
    return stepwise(pad(ink, turns), turns, MAX);
  }
  const turns = width > most ? nearest((width - most) * long, 400) : 0;
  const thinner = stepwise(pad(ink, 1), turns, MIN);
  if (max(thinner.data) < 128) return ink;
  return slice(thinner, ...boxOf(thinner, (value) => value >= 128));
}

/** Grow or shrink by `turns` pixels: a cross, then a square, and so on, which comes near to a disc. */
function stepwise(values: Grid, turns: number, sign: Sign): Grid {
  for (let turn = 0; turn < turns; turn++) {
    if (turn % 2) {
      values = extreme(values, 1, sign);
    } else {
      const along = extremeAlong(values, 1, sign, 1);
      values = map(extremeAlong(values, 1, sign, 0), (value, i) => sign * Math.max(sign * value, sign * along.data[i]));
    }
  }
  return values;
}

/** Steps 11 and 12. */
function place(ink: Grid, size: number): Uint8Array {
  let digit = scaleTo(ink, boxSide(size));
  const brightest = max(digit.data);
  digit = map(digit, (value) => floorDiv(value * 255, brightest));
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

// ---- Arithmetic on grids ---------------------------------------------------------------------------------------------

type Sign = 1 | -1;
const MAX: Sign = 1;
const MIN: Sign = -1;

function floorDiv(numerator: number, denominator: number): number {
  return Math.floor(numerator / denominator);
}

/** To the nearest whole number, halves up. */
function nearest(numerator: number, denominator: number): number {
  return Math.floor((2 * numerator + denominator) / (2 * denominator));
}

function clip(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

function max(values: ArrayLike<number>): number {
  let most = -Infinity;
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i];
  return most;
}

function histogram(levels: Int32Array, bins: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  for (let i = 0; i < levels.length; i++) counts[Math.min(levels[i], bins - 1)] += 1;
  return counts;
}

/** Σ value · row and Σ value · column. */
function moments({ data, height, width }: Grid): [number, number] {
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

function map({ data, height, width }: Grid, change: (value: number, i: number) => number): Grid {
  const out = new Int32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = change(data[i], i);
  return { data: out, height, width };
}

function minus(a: Grid, b: Grid): Grid {
  const out = new Int32Array(a.data.length);
  for (let i = 0; i < out.length; i++) out[i] = a.data[i] - b.data[i];
  return { data: out, height: a.height, width: a.width };
}

function slice(grid: Grid, top: number, bottom: number, left: number, right: number): Grid {
  const out = { data: new Int32Array((bottom - top) * (right - left)), height: bottom - top, width: right - left };
  for (let y = top; y < bottom; y++) {
    out.data.set(grid.data.subarray(y * grid.width + left, y * grid.width + right), (y - top) * out.width);
  }
  return out;
}

function pad(grid: Grid, by: number): Grid {
  const [height, width] = [grid.height + 2 * by, grid.width + 2 * by];
  const out = { data: new Int32Array(height * width), height, width };
  for (let y = 0; y < grid.height; y++) {
    out.data.set(grid.data.subarray(y * grid.width, (y + 1) * grid.width), (y + by) * width + by);
  }
  return out;
}

/** Places of the border pixels, each once or, in a picture one pixel wide, twice. */
function ring({ height, width }: Grid): number[] {
  const places: number[] = [];
  for (const y of [0, height - 1]) for (let x = 0; x < width; x++) places.push(y * width + x);
  for (const x of [0, width - 1]) for (let y = 1; y < height - 1; y++) places.push(y * width + x);
  return places;
}

/** First row, row after the last, first column and column after the last that hold something. */
function boxOf({ data, height, width }: Grid, holds: (value: number) => boolean): Box {
  const box: Box = [height, 0, width, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!holds(data[i])) continue;
      if (y < box[0]) box[0] = y;
      box[1] = y + 1;
      if (x < box[2]) box[2] = x;
      if (x >= box[3]) box[3] = x + 1;
    }
  }
  return box;
}

/** Resample so that the longer side is `long` and the aspect is kept. */
function scaleTo(grid: Grid, long: number): Grid {
  const most = Math.max(grid.height, grid.width);
  const side = (length: number) => Math.max(1, nearest(length * long, most));
  const rows = resample(grid, side(grid.height), 0);
  return resample(rows, side(grid.width), 1);
}

/** Resample along an axis: averages areas when it shrinks, interpolates between pixel centres when it enlarges. */
function resample(grid: Grid, after: number, axis: 0 | 1): Grid {
  const before = axis ? grid.width : grid.height;
  if (after === before) return grid;
  const [height, width] = axis ? [grid.height, after] : [after, grid.width];
  const out = { data: new Int32Array(height * width), height, width };
  const lines = axis ? height : width;
  const step = axis ? 1 : grid.width; // the same in `out`, whose width is new only when rows are resampled
  for (let line = 0; line < lines; line++) {
    const from = axis ? line * grid.width : line;
    const to = axis ? line * width : line;
    if (after < before) {
      // Place i covers the old places from i·before/after to (i + 1)·before/after.
      for (let i = 0; i < after; i++) {
        const start = floorDiv(i * before, after);
        const end = floorDiv((i + 1) * before, after);
        let total = 0;
        for (let k = start; k < end; k++) total += grid.data[from + k * step];
        total = after * total - (i * before - start * after) * grid.data[from + start * step];
        if (end < before) total += ((i + 1) * before - end * after) * grid.data[from + end * step];
        out.data[to + i * step] = nearest(total, before);
      }
    } else {
      for (let i = 0; i < after; i++) {
        const place = (2 * i + 1) * before - after;
        const lower = floorDiv(place, 2 * after);
        const fraction = place - lower * 2 * after;
        const low = grid.data[from + Math.max(lower, 0) * step];
        const high = grid.data[from + Math.min(lower + 1, before - 1) * step];
        out.data[to + i * step] = nearest((2 * after - fraction) * low + fraction * high, 2 * after);
      }
    }
  }
  return out;
}

/** The mean, rounded down, over a window of 2·radius + 1 rows and then columns, as far as the picture goes. */
function mean(grid: Grid, radius: number): Grid {
  return meanAlong(meanAlong(grid, radius, 0), radius, 1);
}

function meanAlong({ data, height, width }: Grid, radius: number, axis: 0 | 1): Grid {
  const out = new Int32Array(data.length);
  const [lines, length, stride, step] = axis ? [height, width, width, 1] : [width, height, 1, width];
  for (let line = 0; line < lines; line++) {
    const from = line * stride;
    let total = 0;
    let start = 0;
    let end = 0;
    for (let i = 0; i < length; i++) {
      while (end < Math.min(i + radius + 1, length)) total += data[from + end++ * step];
      while (start < i - radius) total -= data[from + start++ * step];
      out[from + i * step] = floorDiv(total, end - start);
    }
  }
  return { data: out, height, width };
}

/** Over a square window of 2·radius + 1, as far as the picture goes: MAX its maximum, MIN its minimum. */
function extreme(grid: Grid, radius: number, sign: Sign): Grid {
  return extremeAlong(extremeAlong(grid, radius, sign, 0), radius, sign, 1);
}

/** After van Herk (1992): a window is the end of one block of its length and the start of the next. */
function extremeAlong({ data, height, width }: Grid, radius: number, sign: Sign, axis: 0 | 1): Grid {
  const out = new Int32Array(data.length);
  const [lines, length, stride, step] = axis ? [height, width, width, 1] : [width, height, 1, width];
  const reach = Math.min(radius, length - 1);
  const window = 2 * reach + 1;
  const forward = new Int32Array(length + 2 * reach); // the greatest since the block began
  const backward = new Int32Array(length + 2 * reach); // the greatest until the block ends
  for (let line = 0; line < lines; line++) {
    const from = line * stride;
    // Repeating the end pixel adds nothing to a window that holds it already.
    forward.fill(sign * data[from], 0, reach);
    for (let i = 0, at = from; i < length; i++, at += step) forward[reach + i] = sign * data[at];
    forward.fill(forward[reach + length - 1], reach + length);
    backward.set(forward);
    for (let i = 1, k = 1; i < forward.length; i++, k++) {
      if (k === window) k = 0;
      else if (forward[i - 1] > forward[i]) forward[i] = forward[i - 1];
    }
    for (let i = backward.length - 2, k = (i + 1) % window; i >= 0; i--, k--) {
      if (k === 0) k = window;
      else if (backward[i + 1] > backward[i]) backward[i] = backward[i + 1];
    }
    for (let i = 0, at = from; i < length; i++, at += step) {
      const a = backward[i];
      const b = forward[i + window - 1];
      out[at] = sign * (a > b ? a : b);
    }
  }
  return { data: out, height, width };
}
