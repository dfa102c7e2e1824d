// Any picture of lines of digits → strips 28 px high: lenet_zoo/pictures/line.py in TypeScript, whose docstring has the
// steps; 7 and 8 are in strip.ts. Functions bear the names that they have there. Both sides give the same bytes
// (tests/fixtures/lines).

import { components, maskOf, runLengths, type Piece } from "./components";
import { abovePattern, inkIsBright, refuseNoise, riseAbovePaper, uponBlob, type Ink } from "./ground";
import {
  blockMeans,
  boxOf,
  clip,
  extreme,
  floorDiv,
  map,
  max,
  MAX,
  meanStroke,
  median,
  MIN,
  nearest,
  otsu,
  pad,
  scaleTo,
  slice,
  sum,
  transpose,
  type Grid,
} from "./kernels";
import { framesOf, joinedOf } from "./pieces";
import { NoDigit } from "./refusals";
import { rulesAlong, withoutRules } from "./rules";
import { cellsAlone, cornersIn, isDesk, paintedOver, sheetIn, surroundOf, type Surround } from "./sheet";
import { stripOf, type Place, type Span, type Strip } from "./strip";

const [TALL, WIDE] = [96, 1536];
/** Of a larger picture so many pixels of its longer side are read. */
export const ENOUGH_OF_LINE = WIDE;
const MOST_LINES = 5;
const LEAST_CONTRAST = 4;

type Pair = [rows: number, columns: number];

/** The lines of grey levels, from top to bottom; `size` is that of the picture in whose pixels boxes are given. */
export function linesFromGrey(grey: Grid, size: Pair = [grey.height, grey.width]): Strip[] {
  if (grey.height < 8) throw new NoDigit("no number: the writing is under 5 px high");
  return cutOut(grey, [0, 0], [size[0] / grey.height, size[1] / grey.width]);
}

/** The same of ink that was drawn here, 255 on 0: the paper goes on around the pad by `aroundDrawing` pixels. */
export function linesFromDrawing(drawing: Grid): Strip[] {
  return linesFromGrey(pad(drawing, aroundDrawing(drawing)));
}

export function aroundDrawing({ height }: Grid): number {
  return floorDiv(height, 14);
}

/**
 * The lines of a part of a picture, of its `corner`'s first row and column; `scale` is of its rows and columns to those
 * that boxes are given in, `single` whether there is one line, and what stands above and below it are remnants.
 */
function cutOut(crop: Grid, corner: Pair, scale: Pair, single = false): Strip[] {
  let [top, left] = corner;
  let picture = fitted(crop);
  const around = surroundOf(picture);
  const onDesk = around !== null && isDesk(around, picture);
  const alone = around && aloneOf(around, picture, crop);
  if (alone) {
    crop = alone;
    picture = fitted(crop);
  }
  [crop, picture] = widened(crop, picture, onDesk);
  for (let turn = 0; turn < 2; turn++) {
    const boxes = framesIn(risenOf(picture, onDesk));
    if (!boxes) break;
    crop = paintedOver(crop, extreme(boxes, 2, MAX));
    picture = fitted(crop);
  }
  for (let turn = 0; ; turn++) {
    const found = written(picture, onDesk, crop.height, single);
    const [down, across] = [crop.height / picture.height, crop.width / picture.width];
    if (found.lines.length > 1) {
      const rows = found.lines.map(([first, last]): Span => [first * down, last * down]);
      return each(crop, rows, [top, left], scale);
    }
    const [first, last, begin, end] = boxOf(found.kept)!;
    const tall = last - first;
    const margin = floorDiv(tall, 2) + 2;
    const cut = [
      Math.max(0, Math.trunc((first - margin) * down)),
      Math.min(crop.height, Math.trunc((last + margin) * down) + 1),
      Math.max(0, Math.trunc((begin - margin) * across)),
      Math.min(crop.width, Math.trunc((end + margin) * across) + 1),
    ] as const;
    const rows = cut[1] - cut[0];
    if (2 * tall < picture.height && turn < 3 && rows * 4 < 3 * crop.height && rows >= 8) {
      crop = slice(crop, ...cut);
      [top, left] = [top + cut[0], left + cut[2]];
      picture = fitted(crop);
      continue;
    }
    if (tall * crop.height < 5 * picture.height) throw new NoDigit("no number: the writing is under 5 px high");
    const place: Place = [
      (top + first * down) * scale[0],
      (left + begin * across) * scale[1],
      down * scale[0],
      across * scale[1],
    ];
    return [stripOf(slice(found.soft, first, last, begin, end), found.height, crop, place)];
  }
}

/** Each of several lines, cut half-way to its neighbours; without those on which nothing is a character. */
function each(crop: Grid, rows: Span[], corner: Pair, scale: Pair): Strip[] {
  const strips: Strip[] = [];
  let reason = new NoDigit("no number: nothing on the paper is a character");
  rows.forEach(([first, last], i) => {
    const margin = (last - first) / 2 + 2;
    const above = Math.trunc(Math.max(first - margin, i ? (rows[i - 1][1] + first) / 2 : 0, 0));
    const next = i + 1 < rows.length ? (last + rows[i + 1][0]) / 2 : crop.height;
    const below = Math.min(Math.ceil(Math.min(last + margin, next, crop.height)), crop.height);
    if (below - above < 8) return;
    try {
      strips.push(...cutOut(slice(crop, above, below, 0, crop.width), [corner[0] + above, corner[1]], scale, true));
    } catch (error) {
      if (!(error instanceof NoDigit)) throw error;
      reason = error;
    }
  });
  if (!strips.length) throw reason;
  return strips;
}

/**
 * What stands on the paper: grey ink and its pieces, the height of its characters, and first and last rows of its lines,
 * in pixels. Of several lines there is no more than these.
 */
interface Writing {
  soft: Grid;
  kept: Grid;
  height: number;
  lines: Span[];
}

/** Step 1. */
function fitted(grey: Grid): Grid {
  const { height, width } = grey;
  let long = height >= width ? TALL : nearest(width * TALL, height);
  let factor = 1;
  while (floorDiv(Math.min(height, width), 2 * factor) >= 2 * TALL) factor *= 2;
  if (factor > 1) {
    const data = blockMeans(grey.data, height, width, factor, 1);
    grey = { data, height: floorDiv(height, factor), width: floorDiv(width, factor) };
  }
  if (height > width) {
    long = height < 4 * width ? nearest(height * TALL, width) : TALL;
    long = Math.max(TALL, Math.min(long, 2 * TALL));
  }
  return scaleTo(grey, Math.min(Math.max(long, 8), WIDE));
}

const over = (rise: Grid, threshold: number) => map(rise, (value) => Number(value >= threshold));

/** Step 1, the crop without what is around its cells, or its sheet; null where there is neither. */
function aloneOf(around: Surround, picture: Grid, crop: Grid): Grid | null {
  const cells = cellsAlone(around, picture, crop);
  if (cells) return cells;
  const desk = cornersIn(around, picture) ?? sheetIn(around, true)?.around;
  return desk ? paintedOver(crop, desk) : null;
}

/** The ink of step 2. */
function risenOf(picture: Grid, onDesk: boolean): Ink {
  const side = Math.min(picture.height, picture.width);
  const look = (isBright: boolean, radius?: number): Ink => {
    const rise = riseAbovePaper(picture, isBright, radius ?? floorDiv(3 * side, 10), onDesk);
    const [threshold, paper, ink] = otsu(rise.data);
    return { rise, threshold, paper, ink, mask: over(rise, threshold) };
  };
  let bright = inkIsBright(picture);
  let found = look(bright);
  if (2 * sum(found.mask.data) > found.mask.data.length) {
    // That is the paper, within a frame of the ink's tone.
    bright = !bright;
    found = look(bright);
  }
  if (found.ink - found.paper < LEAST_CONTRAST) return found;
  return uponBlob(found, look, bright, side, floorDiv(side, 8), picture).found; // a digit may be an eighth as high as a note
}

/** A crop and its working picture, hair lines being as wide as a pixel of the working picture. */
function widened(crop: Grid, picture: Grid, onDesk: boolean): [crop: Grid, picture: Grid] {
  const reach = floorDiv(crop.height, 3 * picture.height);
  if (!reach) return [crop, picture];
  const { paper, ink, mask } = risenOf(picture, onDesk);
  if (!mask.data.some(Boolean) || meanStroke(mask) > 2) return [crop, picture];
  // The one for the other polarity rubs them out.
  for (const choose of [MIN, MAX]) {
    const wide = extreme(crop, reach, choose);
    const thick = fitted(wide);
    const found = risenOf(thick, onDesk);
    if (found.ink - found.paper >= 2 * (ink - paper)) return [wide, thick];
  }
  return [crop, picture];
}

/**
 * The rings and boxes around characters; null where there are none. Of a box the straight lines alone, if they are half
 * of it: characters may touch it.
 */
function framesIn({ paper, ink, mask }: Ink): Grid | null {
  if (ink - paper < LEAST_CONTRAST) return null;
  const { height, width } = mask;
  const found = components(mask);
  const around = new Uint8Array(mask.data.length);
  for (const { piece } of framesOf(found, mask, true)) {
    const whole = maskOf(found, height, width, (each) => each === piece);
    const along = runLengths(whole);
    const down = runLengths(transpose(whole));
    const lines = map(whole, (_, i) => {
      const turned = (i % width) * height + floorDiv(i, width);
      return Number(5 * Math.max(along[i], down[turned]) >= 4 * piece.height);
    });
    const marked = 2 * sum(lines.data) >= sum(whole.data) ? lines : whole;
    marked.data.forEach((value, i) => {
      around[i] |= value;
    });
  }
  return around.some(Boolean) ? { data: around, height, width } : null;
}

/** The refusals of step 2, and steps 3 to 5. */
function written(picture: Grid, onDesk: boolean, pixels: number, single: boolean): Writing {
  let { rise, threshold, paper, ink, mask } = risenOf(picture, onDesk);
  const { height, width } = rise;
  const rules = ink - paper >= LEAST_CONTRAST ? rulesAlong(mask, Math.min(height, width)) : null;
  if (rules) {
    const rest = withoutRules(rise, mask, rules);
    rise = rest.rise;
    [threshold, paper, ink] = otsu(rise.data.filter((_, i) => !rest.gone.data[i]));
    mask = over(rise, threshold);
  }
  if (ink - paper < LEAST_CONTRAST || !mask.data.some(Boolean)) {
    throw new NoDigit("no number: the picture is of one tone");
  }
  if (pixels >= 16) {
    try {
      refuseNoise(rise, mask, ink - paper, Math.max(2, Math.ceil(height / pixels)));
    } catch (error) {
      if (!(error instanceof NoDigit)) throw error;
      throw new NoDigit("no number: the picture is noise");
    }
  }
  const upon = abovePattern(rise, mask, threshold, paper, picture, true);
  if (upon) {
    [threshold, paper, ink] = upon;
    mask = over(rise, threshold);
  }
  mask = withoutEdges(mask);
  let found = components(mask);
  const parts = joinedOf(mask, found);
  if (parts) {
    const [solid, inked] = [ink, mask];
    rise = map(rise, (value, i) => (parts.ink.data[i] && !inked.data[i] ? solid : value));
    found = components(parts.ink);
  }
  const sums = found.pieces.map(() => 0);
  found.labels.forEach((label, i) => {
    if (label) sums[label - 1] += rise.data[i];
  });
  const pale = floorDiv(threshold + ink, 2);
  const dark = new Set(found.pieces.filter(({ area }, i) => sums[i] >= pale * area));
  const { keep, tall, lines } = keptOf(found.pieces, dark, { height, width }, single);
  const kept = maskOf(found, height, width, (piece) => keep.has(piece));
  const near = extreme(kept, 2, MAX).data;
  const soft = map(rise, (value, i) => near[i] * clip(floorDiv((value - paper) * 255, ink - paper), 0, 255));
  return { soft, kept, height: tall, lines };
}

/** Without the rules of a form that are cut along the upper or lower border, where characters may stand on them. */
function withoutEdges({ data, height, width }: Grid): Grid {
  const out = { data: data.slice(), height, width };
  const deep = Math.max(1, floorDiv(height, 24));
  for (const [edge, inwards] of [
    [0, 1],
    [height - 1, -1],
  ]) {
    // Of the second edge as the first one left it.
    const lengths = runLengths({ data: out.data.slice(), height, width });
    for (let last = Math.min(deep, height) - 1; last >= 0; last--) {
      const at = (edge + last * inwards) * width;
      if (2 * max(lengths.subarray(at, at + width)) < width) continue;
      for (let k = 0; k <= last; k++) {
        const row = (edge + k * inwards) * width;
        out.data.fill(0, row, row + width);
      }
      break;
    }
  }
  return out;
}

/** Steps 4 and 5: which pieces are the line, how high its characters are, and the rows of all lines. */
function keptOf(
  pieces: Piece[],
  dark: Set<Piece>,
  { height, width }: Pick<Grid, "height" | "width">,
  single: boolean,
): { keep: Set<Piece>; tall: number; lines: Span[] } {
  let keep = pieces.filter(({ height: high, width: wide, sides }) => {
    if (wide >= width - 2 && 5 * high <= height) return false;
    if (high >= height - 2 && 20 * wide <= height) return false;
    if (sides.some((side, k) => 2 * side >= (k < 2 ? width : height))) return false;
    // Remnants of the lines above and below, of a box or of the neighbour: they touch the border and are no character.
    if ((sides[0] || sides[1]) && 3 * high < height) return false;
    return high + wide >= Math.max(4, floorDiv(Math.min(height, width), 24));
  });
  // What is low and pale is no dash and no dot, but the pattern of the paper or the rest of a rule. Where all is, it is
  // the writing: of a fine pencil, small on a large sheet.
  const written = keep.filter((piece) => 4 * piece.height >= height || dark.has(piece));
  if (written.length) keep = written;
  if (!keep.length) throw new NoDigit("no number: nothing on the paper is a character");
  const bars = barsOf(keep);
  keep = keep.filter((piece) => !bars.includes(piece));
  const tallest = max(keep.map((piece) => piece.height));
  // The tallest may be a bracket or a long stroke: the median of what comes near to it is the writing's.
  const tall = Math.trunc(median(keep.filter((piece) => 2 * piece.height >= tallest).map((piece) => piece.height)));
  const main = keep.filter((piece) => 2 * piece.height >= tall);
  keep = keep.filter(
    ({ height: high, width: wide, area }) =>
      !(5 * high < tall && 5 * wide < tall && 25 * area < floorDiv(tall * tall, 4)),
  );
  if (pieces.length > 400 && main.length > 150) {
    throw new NoDigit("no number: this is a page of text; give a picture of one line");
  }
  const lines = bandsOf(main, tall, single);
  if (lines.length > 1) return { keep: new Set(keep), tall, lines };
  const [first, last] = [lines[0][0] - floorDiv(tall, 4), lines[0][1] + floorDiv(tall, 4)];
  const isInside = ({ box: [top, bottom], height: high }: Piece) =>
    2 * (Math.min(bottom, last) - Math.max(top, first)) >= high;
  return { keep: new Set(keep.filter(isInside)), tall, lines };
}

/**
 * The upright lines between characters, as of a form or a counter: thin, and higher than all others.
 *
 * One alone may be a long 1, unless it is half as high again; and what is over 3 times as high may be 1s beside a dot.
 */
function barsOf(keep: Piece[]): Piece[] {
  const isThin = ({ height, width }: Piece) => 8 * width <= height;
  const highest = Math.max(0, ...keep.filter((piece) => !isThin(piece)).map(({ height }) => height));
  const isBar = (piece: Piece) => isThin(piece) && 3 * piece.height >= 4 * highest && piece.height <= 3 * highest;
  const bars = keep.filter(isBar);
  return bars.length === 1 && 2 * bars[0].height < 3 * highest ? [] : bars;
}

/** The rows of the lines of writing, from top to bottom. */
function bandsOf(main: Piece[], tall: number, single: boolean): Span[] {
  const bands: { rows: Span; ink: number }[] = [];
  for (const { box, area } of [...main].sort((a, b) => a.box[0] - b.box[0])) {
    const band = bands[bands.length - 1];
    if (band && 8 * (band.rows[1] - box[0]) > tall) {
      band.rows[1] = Math.max(band.rows[1], box[1]);
      band.ink += area;
    } else {
      bands.push({ rows: [box[0], box[1]], ink: area });
    }
  }
  const best = bands.reduce((most, band) => (band.ink > most.ink ? band : most));
  if (single) return [best.rows];
  const lines = bands.filter(({ ink }) => 4 * ink >= best.ink).map(({ rows }) => rows);
  if (lines.length > MOST_LINES) {
    throw new NoDigit("no number: this is a page of text; give a picture of one line");
  }
  return lines;
}
