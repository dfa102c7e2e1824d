// A line of writing as a strip 28 px high: lenet_zoo/pictures/strip.py in TypeScript, steps 7 and 8 of line.ts, and where
// what stands in the strip stands in the picture.

import { digitFromGrey } from "./character";
import { components, maskOf, type Piece } from "./components";
import { boxOf, floorDiv, map, max, roundEven, scaleTo, sheared, slice, type Grid } from "./kernels";
import { evenStroke } from "./placing";
import { NoDigit } from "./refusals";

/** Pixels, of every strip. */
export const HEIGHT = 28;
const BOX = 20;
const MARGIN = 12;
const GAP = 12;
const LONGEST = 2_000;
/** The smaller of two that are equally good is tried first, and of these the one to the left. */
const SLANTS = [0, ...[1, 2, 3, 4, 5, 6, 7, 8].flatMap((k) => [-k / 16, k / 16])];

/** First and after the last. */
export type Span = [first: number, last: number];

/** A box in a picture, in its pixels. */
export type Frame = [left: number, top: number, right: number, bottom: number];

/** Where columns of the strip come from: strip column x is `left` + (x − `start`) / `scale` of the upright ink. */
interface Part {
  start: number;
  end: number;
  left: number;
  scale: number;
}

/** First row and column of the strip's ink in the picture, and pixels per pixel. */
export type Place = [top: number, left: number, down: number, across: number];

/** A line of writing, ready for the network. */
export interface Strip {
  /** Background 0, ink 255, with 12 px of background at both ends. */
  pixels: Grid;
  parts: Part[];
  /** The upright ink that the strip was made of. */
  ink: Grid;
  slant: number;
  place: Place;
}

/** The ink in a strip's columns `first` … `last`, in the picture: left, top, right, bottom in its pixels. */
export function boxIn(strip: Strip, first: number, last: number): Frame {
  const { ink, slant, place } = strip;
  const { height, width } = ink;
  const [start, end] = [columnOf(strip, first), columnOf(strip, last)];
  const from = Math.min(Math.max(0, Math.trunc(start)), width - 1);
  const to = Math.min(width, Math.max(Math.ceil(end), from + 1));
  let [top, bottom, left, right] = [0, height, from, to];
  const box = from < to ? boxOf(slice(ink, 0, height, from, to)) : null;
  if (box) {
    [top, bottom] = box;
    // Back to the slant that it was written with: a row's ink lies this much further right.
    const shifts = shiftsOf(height, slant);
    [left, right] = [Infinity, -Infinity];
    for (let y = top; y < bottom; y++) {
      for (let x = from + box[2]; x < from + box[3]; x++) {
        if (!ink.data[y * width + x]) continue;
        left = Math.min(left, x - shifts[y]);
        right = Math.max(right, x - shifts[y] + 1);
      }
    }
  }
  const [firstRow, firstColumn, down, across] = place;
  return [
    roundEven(firstColumn + left * across),
    roundEven(firstRow + top * down),
    roundEven(firstColumn + right * across),
    roundEven(firstRow + bottom * down),
  ];
}

function columnOf({ parts }: Strip, at: number): number {
  const part = parts.find(({ end }) => at < end) ?? parts[parts.length - 1];
  return part.left + (Math.min(Math.max(at, part.start), part.end) - part.start) / part.scale;
}

/** How many columns each row moves to the right, so that what leans by `slant` stands upright. */
function shiftsOf(height: number, slant: number): number[] {
  return Array.from({ length: height }, (_, y) => roundEven(slant * (y - (height - 1) / 2)));
}

/** The slant of the writing; that of slashes in it is not asked for. */
function slantOf(ink: Grid): number {
  const bars = leaningBars(ink).data;
  return heapedSlant(map(ink, (value, i) => value & (1 - bars[i])));
}

/** Straight strokes of the height of digits that lean to the right, and more than the digits beside them. */
function leaningBars(ink: Grid): Grid {
  const { height, width } = ink;
  const found = components(ink);
  const sums = found.pieces.map(() => ({ x: 0, y: 0, xx: 0, xy: 0, yy: 0 }));
  found.labels.forEach((label, i) => {
    if (!label) return;
    const [y, x] = [floorDiv(i, width), 2 * (i % width)];
    const of = sums[label - 1];
    of.x += x;
    of.y += y;
    of.xx += x * x;
    of.xy += x * y;
    of.yy += y * y;
  });
  const tallest = Math.max(...found.pieces.map((piece) => piece.height));
  const lean = new Map<Piece, [both: number, down: number]>();
  found.pieces.forEach((piece, i) => {
    const { area: n, height: tall } = piece;
    const { x, y, xx, xy, yy } = sums[i];
    const [across, down, both] = [(n * xx - x * x) / 4, n * yy - y * y, (n * xy - x * y) / 2];
    if (2 * tall < tallest || 250 * (across * down - both * both) > n * n * down * tall * tall) return;
    if (4 * -both > down) lean.set(piece, [both, down]);
  });
  const others = found.pieces.some((piece) => 2 * piece.height >= tallest && !lean.has(piece));
  if (!lean.size || !others) return map(ink, () => 0);
  const slant = heapedSlant(maskOf(found, height, width, (piece) => !lean.has(piece)));
  return maskOf(found, height, width, (piece) => {
    const [both, down] = lean.get(piece) ?? [0, 0];
    return -both > (slant + 0.125) * down;
  });
}

/** The slant whose removal heaps the ink most: the largest sum of squared columns. */
function heapedSlant({ data, height, width }: Grid): number {
  let [best, chosen] = [0, 0];
  for (const slant of SLANTS) {
    const shifts = shiftsOf(height, slant);
    const heaps = new Float64Array(width + 2 * height);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) if (data[i]) heaps[x + shifts[y] + height] += 1;
    }
    const value = heaps.reduce((total, heap) => total + heap * heap, 0);
    if (value > best * 1.02) [best, chosen] = [value, slant]; // a slant has to be worth its name
  }
  return chosen;
}

/** The strip of grey ink, cut to its box, of characters `tall` px high; `crop` is the picture that it stands on. */
export function stripOf(grey: Grid, tall: number, crop: Grid, [top, left, down, across]: Place): Strip {
  const soft = evenStroke(grey, tall);
  // Strokes that were made wider or thinner move the border: keep the middle where it was.
  const grown = [floorDiv(soft.height - grey.height, 2), floorDiv(soft.width - grey.width, 2)];
  const slant = slantOf(map(soft, (value) => Number(value >= 128)));
  const upright = sheared(soft, shiftsOf(soft.height, slant));
  const room = floorDiv(upright.width - soft.width, 2);
  const ink = map(upright, (value) => Number(value >= 64));
  const place: Place = [top - grown[0] * down, left - (grown[1] + room) * across, down, across];
  const clusters = clustersOf(ink).filter(([begin, end]) => !isEqualsSign(slice(ink, 0, ink.height, begin, end), tall));
  const main = clusters.filter((part) => 2 * tallOf(ink, part) >= tall);
  if (!main.length) throw new NoDigit("no number: nothing on the paper is a character");
  const unit = BOX / tall;
  if ((clusters[clusters.length - 1][1] - clusters[0][0]) * unit > 2 * LONGEST) {
    throw new NoDigit("no number: the line is too long; give 100 digits at most");
  }
  if (main.length === 1 && clusters.length <= 3 && main[0][1] - main[0][0] <= tall) {
    const single = singleOf(crop, main[0], place, ink, slant);
    if (single) return single;
  }
  const columns: { pixels: Grid; from: number }[] = []; // `from`: the part's rows begin there in the strip
  const parts: Part[] = [];
  let [at, before, middle] = [MARGIN, 0, middleOf(upright, main[0])];
  for (const [begin, end] of clusters) {
    const gap = parts.length ? Math.min(GAP, roundEven((begin - before) * unit)) : 0;
    let scale = unit;
    const [first, last] = rowsOf(ink, [begin, end]);
    if (2 * (last - first) >= tall) {
      scale = Math.min(Math.max(BOX / (last - first), 0.8 * unit), 1.25 * unit);
      middle = middleOf(upright, [begin, end]);
    }
    const long = Math.max(1, roundEven(Math.max(last - first, end - begin) * scale));
    const pixels = scaleTo(slice(upright, first, last, begin, end), long);
    const shift = roundEven(HEIGHT / 2 + (first - middle) * scale);
    at += parts.length ? Math.max(gap, 1) : 0;
    parts.push({ start: at, end: at + pixels.width, left: begin, scale });
    columns.push({ pixels, from: Math.min(Math.max(shift, 0), Math.max(0, HEIGHT - pixels.height)) });
    at += pixels.width;
    before = end;
  }
  if (at > LONGEST) throw new NoDigit("no number: the line is too long; give 100 digits at most");
  const width = at + MARGIN;
  const out = { data: new Uint8Array(HEIGHT * width), height: HEIGHT, width };
  columns.forEach(({ pixels, from }, i) => {
    for (let y = 0; y < Math.min(pixels.height, HEIGHT - from); y++) {
      const row = pixels.data.subarray(y * pixels.width, (y + 1) * pixels.width);
      out.data.set(row, (from + y) * width + parts[i].start);
    }
  });
  const most = max(out.data);
  const bright = most > 0 && most < 255 ? map(out, (value) => floorDiv(value * 255, most)) : out;
  return { pixels: bright, parts, ink, slant, place };
}

/** The columns between empty ones. */
function clustersOf({ data, height, width }: Grid): Span[] {
  const found: Span[] = [];
  let start = -1;
  for (let x = 0; x <= width; x++) {
    let filled = false;
    for (let y = 0; x < width && y < height && !filled; y++) filled = data[y * width + x] > 0;
    if (filled && start < 0) start = x;
    if (!filled && start >= 0) {
      found.push([start, x]);
      start = -1;
    }
  }
  return found;
}

/** Whether a cluster is two flat strokes, one above the other: amounts end so, and it looks like a 2. */
function isEqualsSign(ink: Grid, tall: number): boolean {
  const { pieces } = components(ink);
  if (pieces.length !== 2) return false;
  const [one, other] = pieces;
  const [tops, bottoms, lefts, rights] = [0, 1, 2, 3].map((edge) => [one.box[edge], other.box[edge]]);
  const flat = pieces.every(({ height, width }) => 2 * width >= 3 * height && 3 * height <= tall);
  const low = 4 * (Math.max(...bottoms) - Math.min(...tops)) <= 3 * tall;
  const beside = Math.min(...rights) - Math.max(...lefts);
  return flat && low && Math.min(...bottoms) <= Math.max(...tops) && 2 * beside >= Math.min(one.width, other.width);
}

function rowsOf(ink: Grid, [begin, end]: Span): Span {
  const [first, last] = boxOf(slice(ink, 0, ink.height, begin, end))!;
  return [first, last];
}

function tallOf(ink: Grid, part: Span): number {
  const [first, last] = rowsOf(ink, part);
  return last - first;
}

/** The row of the centre of mass. */
function middleOf({ data, height, width }: Grid, [begin, end]: Span): number {
  let [mass, moment] = [0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = begin; x < end; x++) {
      mass += data[y * width + x];
      moment += data[y * width + x] * y;
    }
  }
  return moment / Math.max(1, mass) + 0.5;
}

/** A line of one character as `digitFromGrey` places it; null where that finds several, or none. */
function singleOf(crop: Grid, part: Span, place: Place, ink: Grid, slant: number): Strip | null {
  let data: Uint8Array;
  try {
    data = digitFromGrey(crop.data, crop.height, crop.width);
  } catch (error) {
    if (error instanceof NoDigit) return null;
    throw error;
  }
  const [, , left, right] = boxOf({ data, height: HEIGHT, width: HEIGHT })!;
  const width = HEIGHT + 2 * MARGIN;
  const pixels = { data: new Uint8Array(HEIGHT * width), height: HEIGHT, width };
  for (let y = 0; y < HEIGHT; y++) pixels.data.set(data.subarray(y * HEIGHT, (y + 1) * HEIGHT), y * width + MARGIN);
  const scale = (right - left) / (part[1] - part[0]);
  const parts = [{ start: MARGIN + left, end: MARGIN + right, left: part[0], scale }];
  return { pixels, parts, ink, slant, place };
}
