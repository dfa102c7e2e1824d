// A sheet of paper, or the field of a frame, that does not fill the picture: lenet_zoo/pictures/sheet.py in TypeScript,
// step 3 of character.ts and 2 of line.ts.

import { components, filledOf, maskOf, type Pieces } from "./components";
import { boxOf, extreme, floorDiv, map, MIN, otsu, ring, sum, transpose, type Box, type Grid } from "./kernels";

/** Pixels of a sheet's edge that are no paper yet. */
const EDGE = 2;

/** Where a sheet lies in the working picture: a box within it, and what is around it if that is to go. */
interface Sheet {
  box: Box;
  around: Grid | null;
}

/**
 * The sheet within a surround; null without a surround.
 *
 * `ofLines`: whether the sheet is one of lines of writing, which may be of any shape and smaller, but has marks.
 */
export function sheetIn(picture: Grid, ofLines = false): Sheet | null {
  const { data, height: rows, width: columns } = picture;
  const [threshold, dark, bright] = otsu(data);
  if (dark === bright) return null;
  const border = ring(data, rows, columns);
  const upper = border.filter((value) => value >= threshold).length;
  const isBright = 2 * upper >= border.length;
  const surround = map(picture, (value) => Number(value >= threshold === isBright));
  const marked = map(surround, (value) => 1 - value);
  const share = ofLines || 12 * sum(marked.data) >= marked.data.length ? 4 : 2;
  const sheets = components(filledOf(marked));
  if (!sheets.pieces.length) return null;
  const piece = sheets.pieces.reduce((largest, each) => (each.area > largest.area ? each : largest));
  const [top, bottom, left, right] = piece.box;
  const { area, height, width } = piece;
  if (share * height < rows || share * width < columns) return null;
  if (!ofLines && Math.max(height, width) >= 2 * Math.min(height, width)) return null;
  const small = 2 * height < rows || 2 * width < columns;
  const sheet = maskOf(sheets, rows, columns, (each) => each === piece);
  const marks = components(map(sheet, (value, i) => value & surround.data[i]));
  // What touches the border may be what a shadow leaves of the light.
  const written = !ring(sheet.data, rows, columns).some(Boolean) && isSolid(sheet, area) && isWrittenUpon(marks, area);
  const inside = extreme(sheet, EDGE + 1, MIN);
  const around = written && inside.data.some(Boolean) ? map(inside, (value) => 1 - value) : null;
  const straight = 100 * area >= 85 * height * width;
  if (!around && (ofLines || small || !straight)) return null;
  if (!straight && !liesAskew(sheet, area)) return null;
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

/** A picture with the median level of the rest in place of what is marked in a scaled copy of it. */
export function paintedOver(grey: Grid, gone: Grid): Grid {
  const large = map(grey, (_, i) => {
    const row = floorDiv(floorDiv(i, grey.width) * gone.height, grey.height);
    const column = floorDiv((i % grey.width) * gone.width, grey.width);
    return gone.data[row * gone.width + column];
  });
  const levels = grey.data.filter((_, i) => !large.data[i]).sort();
  if (!levels.length) return grey;
  const level = levels[levels.length >> 1];
  return map(grey, (value, i) => (large.data[i] ? level : value));
}
