// What the character stands on: lenet_zoo/pictures/ground.py in TypeScript, steps 4 to 6.

import { components, filledOf, maskOf, type Piece } from "./components";
import {
  clip,
  extreme,
  floorDiv,
  map,
  max,
  MAX,
  meanStroke,
  MIN,
  nearest,
  otsu,
  ring,
  slice,
  spread,
  sum,
  windowMean,
  type Grid,
} from "./kernels";
import { NoDigit } from "./refusals";

/** Step 4. */
export function inkIsBright(picture: Grid): boolean {
  const plane = borderPlane(picture);
  const smooth = windowMean(picture, 1).data;
  const nearby = windowMean(picture, Math.max(1, floorDiv(Math.max(picture.height, picture.width), 3))).data;
  const fromBorder = plane.map((value, i) => picture.data[i] - value);
  return skewness(fromBorder) + skewness(plane.map((_, i) => smooth[i] - nearby[i])) > 0;
}

function skewness(residual: Int32Array): number {
  let cubes = 0;
  let sizes = 0;
  for (const value of residual) {
    const cube = value * value * value;
    cubes += cube;
    sizes += Math.abs(cube);
  }
  return cubes / Math.max(1, sizes);
}

/** The plane through the border pixels by least squares, in whole levels, row by row. */
function borderPlane({ data, height, width }: Grid): Int32Array {
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
    for (let x = 0; x < width; x += inner ? Math.max(1, width - 1) : 1) {
      const value = data[y * width + x];
      count += 1;
      total += value;
      rowSum += row(y) * value;
      rowSquare += row(y) ** 2;
      columnSum += column(x) * value;
      columnSquare += column(x) ** 2;
    }
  }
  const plane = new Int32Array(data.length);
  const middle = nearest(total, count);
  const rows = Array.from({ length: height }, (_, y) => (rowSquare ? nearest(row(y) * rowSum, rowSquare) : 0));
  const columns = Array.from({ length: width }, (_, x) =>
    columnSquare ? nearest(column(x) * columnSum, columnSquare) : 0,
  );
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) plane[i] = middle + rows[y] + columns[x];
  }
  return plane;
}

/** Step 5, first half. */
function levelled(picture: Grid): Grid {
  const { data, height, width } = picture;
  const plane = borderPlane(picture);
  const around = ring(data, height, width);
  const slope = ring(plane, height, width);
  if (2 * spread(around.map((value, i) => value - slope[i])) >= spread(around)) return picture;
  const middle = nearest(sum(slope), slope.length);
  return map(picture, (value, i) => clip(value - plane[i] + middle, 0, 255));
}

/**
 * How far ink that is brighter, or darker, rises above the paper: step 5; with an `opening` that suits another picture
 * than one of one character.
 *
 * Ink takes its part of the light that falls on it, so that dark ink rises less in a shadow. `onDesk`: whether what is
 * dark is no paper in a shadow, but what a sheet lies on.
 */
export function riseAbovePaper(picture: Grid, isBright: boolean, opening?: number, onDesk = false): Grid {
  const radius = Math.max(1, opening ?? floorDiv(3 * Math.max(picture.height, picture.width), 10));
  const paperOf = (level: Grid) => extreme(extreme(windowMean(level, 1), radius, MIN), radius, MAX).data;
  const shown = isBright ? picture : map(picture, (value) => 255 - value);
  const paper = paperOf(shown);
  if (!isBright && !onDesk) {
    const light = paper.map((level) => 255 - level);
    const strongest = max(light);
    if (16 * light.filter((level) => 3 * level < 2 * strongest).length >= light.length) {
      const least = Math.max(1, floorDiv(strongest, 4));
      const rise = (value: number, i: number) => (value - Math.min(value, paper[i])) * strongest;
      return map(shown, (value, i) => Math.min(nearest(rise(value, i), Math.max(light[i], least)), 255));
    }
  }
  const level = levelled(shown);
  const below = level === shown ? paper : paperOf(level);
  return map(level, (value, i) => value - Math.min(value, below[i]));
}

/** The rise above the paper, the threshold, the means of paper and ink, and the ink. */
export interface Ink {
  rise: Grid;
  threshold: number;
  paper: number;
  ink: number;
  mask: Grid;
}

/**
 * The strokes on what is taken for ink, and whether they are bright, where that is a blob; else what is given.
 *
 * `first`: what was found with that polarity and the usual opening; `look` finds it with others. `side`: S of step 7,
 * which has the conditions. `smallest`: the longer side of a character, at least. `picture`: that of which they are.
 */
export function uponBlob(
  first: Ink,
  look: (isBright: boolean, radius?: number) => Ink,
  bright: boolean,
  side: number,
  smallest: number,
  picture: Grid,
): { bright: boolean; found: Ink } {
  const wide = meanStroke(first.mask);
  if (10 * wide <= side) return { bright, found: first };
  const solid = isSolid(first.mask);
  let best = { bright, found: first };
  const small = floorDiv(side, 10);
  for (const [isBright, radius] of [[!bright], [bright, small], [!bright, small]] as [boolean, number?][]) {
    let found: Ink;
    try {
      found = look(isBright, radius);
    } catch (error) {
      if (!(error instanceof NoDigit)) throw error;
      continue;
    }
    const thin = meanStroke(found.mask);
    // In eighths: the ink of a fat pen is darker than what is in its loops.
    const least = isBright === bright || solid ? 6 : 9;
    const contrast = found.ink - found.paper;
    if (2 * thin > wide || 8 * contrast < least * (first.ink - first.paper)) continue;
    const rest = () => map(first.mask, (inked, i) => Number(inked && !found.mask.data[i]));
    if (isBright === bright && !differ(picture, found.mask, rest(), contrast)) continue;
    const areaOf = (some: Piece[]) => sum(some.map(({ area }) => area));
    const { pieces } = components(found.mask);
    const free = pieces.filter(({ sides }) => !sides.some(Boolean));
    const large = free.filter((piece) => Math.max(piece.height, piece.width) >= Math.max(smallest, 6 * thin));
    const strokes = areaOf(large);
    if (!strokes || 2 * strokes < areaOf(free)) continue;
    // Else they are what a bold digit encloses: outside it there is as much of that.
    if (isBright !== bright && 3 * strokes < 2 * areaOf(pieces)) continue;
    if (best.found === first || contrast > best.found.ink - best.found.paper) {
      best = { bright: isBright, found };
    }
  }
  return best;
}

/** Whether the largest piece fills half of its box, and with its holes 7/10. */
function isSolid(mask: Grid): boolean {
  const found = components(mask);
  const largest = found.pieces.reduce((best, piece) => (piece.area > best.area ? piece : best));
  const filled = filledOf(maskOf(found, mask.height, mask.width, (piece) => piece === largest));
  const box = largest.height * largest.width;
  return 10 * sum(filled.data) >= 7 * box && 2 * largest.area >= box;
}

/**
 * Threshold, level of the paper and of the ink, as `otsu` gives them, for ink upon a pattern that is in the mask.
 *
 * Null where there is none. A pattern is a tenth of the mask, over 3 px away from what is dark in it: what is less dark
 * within a stroke, or beside it, is nearer. And it is paler in the picture, too: ink rises less above paper that lies in
 * shadow. In the picture of one character, step 7 asks more: a hair line is dark where the pen began and where it ended.
 */
export function abovePattern(
  rise: Grid,
  mask: Grid,
  threshold: number,
  paper: number,
  picture: Grid,
  ofLines = false,
): [number, number, number] | null {
  const [middle, pattern, ink] = otsu(rise.data.filter((_, i) => mask.data[i]));
  const dark = map(rise, (value) => Number(value >= middle));
  const near = extreme(dark, 3, MAX).data;
  const away = map(mask, (inked, i) => Number(inked && !near[i]));
  if (!sum(dark.data) || 10 * sum(away.data) < sum(mask.data)) return null;
  if (!differ(picture, dark, away, ink - pattern) || !(ofLines || isUpon(dark, away))) return null;
  // A fifth of the way, or two: at the middle strokes that the pen drew lightly would break.
  const steps = ofLines ? 1 : 2;
  return [threshold + floorDiv(steps * (middle - threshold), 5), paper + floorDiv(pattern - paper, 5), ink];
}

/**
 * Whether the mean levels of two parts of a picture are half of `contrast` apart or more: ink rises by more than it
 * differs where it is above paper that lies in a shadow. True where one of them is empty.
 */
function differ(picture: Grid, one: Grid, other: Grid, contrast: number): boolean {
  const [count, area] = [sum(other.data), sum(one.data)];
  const level = (part: Grid) => sum(picture.data.filter((_, i) => part.data[i]));
  return 2 * Math.abs(level(one) * count - level(other) * area) >= contrast * count * area;
}

/** What step 7 asks of a character that is dark upon a pattern. */
function isUpon(dark: Grid, pattern: Grid): boolean {
  if (ring(dark.data, dark.height, dark.width).some(Boolean)) return false;
  const { pieces, labels } = components(extreme(dark, 1, MAX));
  const inked = pieces.map(() => 0);
  dark.data.forEach((value, i) => {
    if (value) inked[labels[i] - 1] += 1;
  });
  const most = Math.max(...inked);
  const { box, height, width } = pieces[inked.indexOf(most)];
  if (20 * most < 19 * sum(inked) || 2 * sum(slice(pattern, ...box).data) > sum(pattern.data)) return false;
  return Math.max(height, width) >= 6 * meanStroke(dark);
}

/** Step 6, the background's steps from one original pixel to the next, which are `pitch` pixels apart. */
export function refuseNoise(rise: Grid, mask: Grid, contrast: number, pitch: number): void {
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
export function refuseSoftLight(rise: Grid, mask: Grid, contrast: number, radius: number): void {
  const inner = extreme(mask, 1, MIN).data;
  const greatest = extreme(rise, radius, MAX).data;
  const least = extreme(rise, radius, MIN).data;
  let count = 0;
  let climb = 0;
  for (let i = 0; i < inner.length; i++) {
    if (!mask.data[i] || inner[i]) continue;
    count += 1;
    climb += greatest[i] - least[i];
  }
  if (4 * climb < 3 * contrast * count) throw new NoDigit("no digit: the picture is light and shade without a stroke");
}
