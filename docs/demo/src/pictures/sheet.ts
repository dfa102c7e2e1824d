// A sheet of paper, or the field of a frame, that does not fill the picture: lenet_zoo/pictures/sheet.py in TypeScript,
// step 3 of character.ts and 1 of line.ts.

import { components, filledOf, maskOf, type Piece, type Pieces } from "./components";
import {
  boxOf,
  extreme,
  floorDiv,
  map,
  MAX,
  meanStroke,
  MIN,
  otsu,
  ring,
  sum,
  transpose,
  type Box,
  type Grid,
} from "./kernels";

/** Pixels of a sheet's edge that are no paper yet. */
const EDGE = 2;

/** Where a sheet lies in the working picture: a box within it, and what is around it if that is to go. */
interface Sheet {
  box: Box;
  around: Grid | null;
}

/** What may lie around a sheet: of two tones the one that most of the border has. */
export interface Surround {
  mask: Grid;
  /** Whether it is the brighter one. */
  isBright: boolean;
  /** The difference of the tones' means. */
  contrast: number;
  /** All else, and what it encloses, without holes. */
  marked: Grid;
  sheets: Pieces;
}

/** Null in a picture of one tone. */
export function surroundOf(picture: Grid): Surround | null {
  const [threshold, dark, bright] = otsu(picture.data);
  if (dark === bright) return null;
  const border = ring(picture.data, picture.height, picture.width);
  const isBright = 2 * border.filter((value) => value >= threshold).length >= border.length;
  const mask = map(picture, (value) => Number(value >= threshold === isBright));
  const marked = map(mask, (value) => 1 - value);
  return { mask, isBright, contrast: bright - dark, marked, sheets: components(filledOf(marked)) };
}

/**
 * The sheet within a surround; null where there is none.
 *
 * `ofLines`: whether the sheet is one of lines of writing, which may be of any shape and smaller, but has marks.
 */
export function sheetIn({ mask: surround, marked, sheets }: Surround, ofLines = false): Sheet | null {
  const { height: rows, width: columns } = surround;
  const share = ofLines || 12 * sum(marked.data) >= marked.data.length ? 4 : 2;
  if (!sheets.pieces.length) return null;
  const piece = sheets.pieces.reduce((largest, each) => (each.area > largest.area ? each : largest));
  const sheet = withoutString(maskOf(sheets, rows, columns, (each) => each === piece));
  const [top, bottom, left, right] = boxOf(sheet)!;
  const [area, height, width] = [sum(sheet.data), bottom - top, right - left];
  if (share * height < rows || share * width < columns) return null;
  if (!ofLines && Math.max(height, width) >= 2 * Math.min(height, width)) return null;
  const small = 2 * height < rows || 2 * width < columns;
  const upon = map(sheet, (value, i) => value & surround.data[i]);
  const marks = components(upon);
  // What touches the border may be what a shadow leaves of the light.
  const written = !ring(sheet.data, rows, columns).some(Boolean) && isSolid(sheet, area) && isWrittenUpon(marks, area);
  const inside = extreme(sheet, EDGE + 1, MIN);
  const around = written && inside.data.some(Boolean) ? map(inside, (value) => 1 - value) : null;
  // A long strip that is turned a little fills much less of its box, but each of its columns is as high.
  const inColumn = new Array<number>(columns).fill(0);
  sheet.data.forEach((value, i) => (inColumn[i % columns] += value));
  const high = ofLines ? Math.max(...inColumn) : height;
  const straight = 100 * area >= 85 * high * width;
  if (!around && (ofLines || small || !straight)) return null;
  if (!straight && !liesAskew(sheet, area) && !isDisc(area, height, width, upon)) return null;
  if (straight) {
    const pieces = components(marked).pieces;
    if (3 * Math.max(...pieces.map((each) => each.area)) < 2 * height * width) {
      // A ring, not a solid sheet: a frame encloses another mark, a 0 or a block 8 does not.
      const isWithin = ({ box }: { box: Box }) => box[0] > top && box[1] < bottom && box[2] > left && box[3] < right;
      if (!pieces.some((each) => isWithin(each) && 5 * each.height >= height)) return null;
    }
  }
  return { box: [top + EDGE, bottom - EDGE, left + EDGE, right - EDGE], around };
}

/** Whether a dark surround is what a sheet lies on, which has an edge, and not the dark around a spot of light. */
export function isDesk({ isBright, contrast, sheets }: Surround, picture: Grid): boolean {
  if (isBright || !sheets.pieces.length) return false;
  const largest = sheets.pieces.reduce((most, each) => (each.area > most.area ? each : most));
  if (Math.max(...largest.sides) || 8 * largest.area < picture.data.length) return false;
  const sheet = maskOf(sheets, picture.height, picture.width, (piece) => piece === largest);
  return isEdge(
    sheet,
    map(sheet, (value) => 1 - value),
    picture,
    contrast,
  );
}

/**
 * A picture without what lies around and between the cells of a row, each with a character, as drums of a counter.
 *
 * Null where there are no such cells. They are of one height, and half of them, two or more, are whole: straight, apart
 * from each other and from the border, and with 1/64 to 1/3 of the character's tone within. The strokes on these are no
 * wider than a quarter of their height, as the holes of bold zeros are. In the result, the level nearest to the
 * characters that a whole cell has is that of all cells, and of what is around.
 * `picture`, which the surround is of, is a scaled copy of `grey`.
 */
export function cellsAlone({ mask, isBright, sheets }: Surround, picture: Grid, grey: Grid): Grid | null {
  const { height: rows, width: columns } = picture;
  const inked = new Map(sheets.pieces.map((piece) => [piece, 0]));
  sheets.labels.forEach((label, i) => {
    const piece = sheets.pieces[label - 1];
    if (label && mask.data[i]) inked.set(piece, inked.get(piece)! + 1);
  });
  const marked = sheets.pieces.filter((piece) => {
    const { area, height, width, sides } = piece;
    if (100 * area < 85 * height * width || Math.max(...sides)) return false;
    return 64 * inked.get(piece)! >= area && 3 * inked.get(piece)! <= area;
  });
  const tallest = Math.max(0, ...marked.map(({ height }) => height));
  const whole = marked.filter(({ height }) => 4 * height >= 3 * tallest);
  const tops = whole.map(({ box }) => box[0]);
  if (whole.length < 2 || 8 * tallest < rows || 4 * (Math.max(...tops) - Math.min(...tops)) > tallest) return null;
  const kept = maskOf(sheets, rows, columns, (each) => whole.includes(each));
  const marks = map(kept, (value, i) => value & mask.data[i]);
  const high = Math.max(...components(marks).pieces.map(({ height }) => height));
  if (3 * high < tallest || 4 * meanStroke(marks) > high) return null;
  const open = openCells(sheets.pieces, whole);
  if (open.length > whole.length) return null;
  for (const [top, bottom, left, right] of open) {
    for (let y = top; y < bottom; y++) kept.data.fill(1, y * columns + left, y * columns + right);
  }
  const levels = whole.map((piece) => {
    const cell = maskOf(sheets, rows, columns, (each) => each === piece);
    const ground = picture.data.filter((_, i) => cell.data[i] && !mask.data[i]).sort();
    return ground[ground.length >> 1];
  });
  const [choose, inside] = [isBright ? Math.max : Math.min, enlarged(extreme(kept, EDGE, MIN), grey)];
  const level = choose(...levels);
  return map(grey, (value, i) => (inside.data[i] ? choose(value, level) : level));
}

/**
 * What is around a round or rounded sheet that reaches the border, as where a picture was cropped to a disc.
 *
 * Null where there is none. It has the four corners, two fifths of the picture at most, and what it leaves is solid and
 * no rectangle. Where they meet, their levels differ by half of what the tones do: a lens that darkens the corners makes
 * no such edge. What has its tone upon the sheet are strokes: of a 0 that fills the picture, the hole is too wide for one.
 */
export function cornersIn({ mask: surround, marked, contrast }: Surround, picture: Grid): Grid | null {
  const { height, width } = surround;
  const corners = [0, width - 1, (height - 1) * width, height * width - 1];
  for (const mask of [surround, marked]) {
    if (!corners.every((corner) => mask.data[corner]) || 5 * sum(mask.data) > 3 * mask.data.length) continue;
    const pieces = components(mask);
    const theirs = new Set(corners.map((corner) => pieces.pieces[pieces.labels[corner] - 1]));
    const around = maskOf(pieces, height, width, (piece) => theirs.has(piece));
    const rest = map(around, (value) => 1 - value);
    const marks = map(mask, (value, i) => value & rest.data[i]);
    const area = sum(rest.data);
    const [top, bottom, left, right] = boxOf(rest)!;
    const rounded = 5 * area >= 3 * rest.data.length && 100 * area <= 97 * (bottom - top) * (right - left);
    const written = 3 * sum(marks.data) <= area && (!sum(marks.data) || areStrokes(marks));
    if (rounded && written && isSolid(rest, area) && isEdge(around, rest, picture, contrast))
      return extreme(around, EDGE, MAX);
  }
  return null;
}

/** Whether levels 2 and 3 px on either side of a border differ by half the contrast, on average. */
function isEdge(oneSide: Grid, rest: Grid, picture: Grid, contrast: number): boolean {
  const [outside, inside] = [rest, oneSide].map((one) => {
    const [far, near] = [extreme(one, 3, MAX), extreme(one, 1, MAX)];
    return [...picture.data].filter((_, i) => far.data[i] && !near.data[i]);
  });
  const levels = Math.abs(sum(outside) * inside.length - sum(inside) * outside.length);
  const sizes = inside.length * outside.length;
  return sizes > 0 && 2 * levels >= contrast * sizes;
}

/** The boxes of cells that a character reaches out of, beside whole ones: it parts what is left of them. */
function openCells(pieces: Piece[], whole: Piece[]): Box[] {
  const first = Math.min(...whole.map(({ box }) => box[0]));
  const last = Math.max(...whole.map(({ box }) => box[1]));
  const between = pieces.filter((piece) => !whole.includes(piece) && first <= piece.box[0] && piece.box[1] <= last);
  const found: { box: Box; area: number }[] = [];
  for (const { box, area } of between.sort((a, b) => a.box[2] - b.box[2])) {
    const before = found[found.length - 1];
    if (before && box[2] < before.box[3]) {
      const [top, bottom, left, right] = before.box;
      before.box = [Math.min(top, box[0]), Math.max(bottom, box[1]), left, Math.max(right, box[3])];
      before.area += area;
    } else {
      found.push({ box, area });
    }
  }
  const high = Math.max(...whole.map(({ height }) => height));
  const wide = Math.min(...whole.map(({ width }) => width));
  const isCell = ({ box: [top, bottom, left, right], area }: { box: Box; area: number }) =>
    4 * (bottom - top) >= 3 * high && 2 * (right - left) >= wide && 2 * area >= (bottom - top) * (right - left);
  return found.filter(isCell).map(({ box }) => box);
}

/** Without what leads from a label towards the border, up to 4 px wide, if the rest fills its box. */
function withoutString(sheet: Grid): Grid {
  const { height, width } = sheet;
  const isLabel = (mask: Grid) => !ring(mask.data, height, width).some(Boolean) && fillsItsBox(mask);
  if (isLabel(sheet)) return sheet;
  const pieces = components(extreme(extreme(sheet, 2, MIN), 2, MAX));
  if (!pieces.pieces.length) return sheet;
  const largest = pieces.pieces.reduce((most, each) => (each.area > most.area ? each : most));
  const label = maskOf(pieces, height, width, (piece) => piece === largest);
  // The loop of a 9 is not most of it, nor a disc without its ends.
  const most = 25 * sum(label.data) >= 24 * sum(sheet.data);
  return most && isLabel(label) ? label : sheet;
}

function fillsItsBox(sheet: Grid): boolean {
  const [top, bottom, left, right] = boxOf(sheet)!;
  return 100 * sum(sheet.data) >= 85 * (bottom - top) * (right - left);
}

/** Whether nothing of a piece is hollow: no row or column of it has gaps, but for 1/20 in all. */
function isSolid(sheet: Grid, area: number): boolean {
  return [sheet, transpose(sheet)].every(({ data, height, width }) => {
    let spans = 0;
    for (let y = 0; y < height; y++) {
      const line = data.subarray(y * width, (y + 1) * width);
      spans += line.some(Boolean) ? line.lastIndexOf(1) + 1 - line.indexOf(1) : 0;
    }
    return 20 * spans <= 21 * area;
  });
}

/** Whether the marks on a sheet of that area are under a third of it, and one is high enough for a character. */
function isWrittenUpon({ pieces }: Pieces, area: number): boolean {
  if (!pieces.length || 3 * sum(pieces.map((piece) => piece.area)) > area) return false;
  return 64 * Math.max(...pieces.map(({ height }) => height)) ** 2 >= area;
}

/** Whether a piece is a rectangle that does not lie straight: its four outermost places are its corners. */
function liesAskew(sheet: Grid, area: number): boolean {
  const [top, bottom, left, right] = boxOf(sheet)!;
  const turned = transpose(sheet);
  const middle = ({ data, width }: Grid, y: number) => {
    const line = data.subarray(y * width, (y + 1) * width);
    return line.indexOf(1) + line.lastIndexOf(1);
  };
  // Twice the coordinates of the corners, against the clock.
  const a = [middle(sheet, top), 2 * top];
  const b = [2 * left, middle(turned, left)];
  const c = [middle(sheet, bottom - 1), 2 * bottom - 2];
  const d = [2 * right - 2, middle(turned, right - 1)];
  const eightfold = Math.abs((c[0] - a[0]) * (d[1] - b[1]) - (c[1] - a[1]) * (d[0] - b[0]));
  if (6 * Math.abs(eightfold - 8 * area) > 8 * area) return false;
  const down = [b[0] - a[0], b[1] - a[1]];
  const across = [d[0] - a[0], d[1] - a[1]];
  const squares = [down, across].map(([x, y]) => x * x + y * y);
  const [short, long] = [Math.min(...squares), Math.max(...squares)];
  // Opposite sides are alike, within a sixth of the longer one; and they meet at right angles, within 14 degrees.
  const uneven = (a[0] + c[0] - b[0] - d[0]) ** 2 + (a[1] + c[1] - b[1] - d[1]) ** 2;
  const dot = down[0] * across[0] + down[1] * across[1];
  return 36 * uneven <= long && 16 * dot * dot <= short * long;
}

/** Whether a piece is round, and what is on it strokes: the hole of a bold 0 is not. */
function isDisc(area: number, height: number, width: number, marks: Grid): boolean {
  const fill = floorDiv(100 * area, height * width);
  return 8 * Math.abs(height - width) <= Math.max(height, width) && fill >= 75 && fill <= 82 && areStrokes(marks);
}

/** Whether there are marks, five times as high as their strokes are wide. */
function areStrokes(marks: Grid): boolean {
  const { pieces } = components(marks);
  return pieces.length > 0 && Math.max(...pieces.map(({ height }) => height)) >= 5 * meanStroke(marks);
}

/** A picture with the median level of the rest in place of what is marked in a scaled copy of it. */
export function paintedOver(grey: Grid, gone: Grid): Grid {
  const large = enlarged(gone, grey);
  const levels = grey.data.filter((_, i) => !large.data[i]).sort();
  if (!levels.length) return grey;
  const level = levels[levels.length >> 1];
  return map(grey, (value, i) => (large.data[i] ? level : value));
}

function enlarged(mask: Grid, { height, width }: Pick<Grid, "height" | "width">): Grid {
  const data = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    const row = floorDiv(y * mask.height, height) * mask.width;
    for (let x = 0; x < width; x++) data[y * width + x] = mask.data[row + floorDiv(x * mask.width, width)];
  }
  return { data, height, width };
}
