// Which pieces of the ink are the character: lenet_zoo/pictures/pieces.py in TypeScript, step 8.

import { central, components, filledOf, maskOf, type Piece, type Pieces } from "./components";
import {
  boxOf,
  extreme,
  floorDiv,
  map,
  MAX,
  meanStroke,
  median,
  MIN,
  pad,
  ring,
  slice,
  sum,
  type Grid,
} from "./kernels";
import { NoDigit, SEVERAL } from "./refusals";

/** Ink whose gaps are bridged, without what is no character where it is of dots; and whether it is of these. */
interface Joined {
  ink: Grid;
  dots: boolean;
}

/** Height and width of a picture. */
export type Shape = Pick<Grid, "height" | "width">;

/**
 * The mask without frames, edges, neighbours, specks, underlines and shadows, which are paler than `pale`.
 *
 * `shrunk`: whether the picture was twice as large. `whole`: the picture's shape when it is looked at whole; null once
 * it has been cut closer. `framed`: whether there may be a ring or a box around the character.
 */
export function keptPieces(
  rise: Grid,
  mask: Grid,
  pale: number,
  shrunk: boolean,
  whole: Shape | null,
  framed = true,
): Grid {
  const { height, width } = mask;
  // A hair line of a large picture may have broken: gaps of 2 px are bridged.
  const hair = shrunk && 32 * sum(mask.data) < mask.data.length;
  const found = components(hair ? extreme(mask, 1, MAX) : mask);
  for (const { within } of framed ? framesOf(found, mask) : []) {
    const inner = map(mask, (value, i) => value & within.data[i]);
    return keptPieces(rise, inner, pale, shrunk, whole);
  }
  // What touches the border is perhaps a neighbour's.
  const atBorder = found.pieces.some(({ sides }) => sides.some(Boolean));
  const joined = joinedOf(mask, hair ? components(mask) : found, true, atBorder);
  if (joined?.dots) return map(mask, (value, i) => value & joined.ink.data[i]);
  if (joined) {
    const inked = map(rise, (value, i) => (joined.ink.data[i] && !mask.data[i] ? 255 : value));
    return keptPieces(inked, joined.ink, pale, shrunk, whole, framed);
  }
  const depths = found.pieces.map(() => 0); // of the ink beyond `pale`
  found.labels.forEach((label, i) => {
    if (label && mask.data[i]) depths[label - 1] += rise.data[i] - pale;
  });
  const isStray = ({ height: high, width: wide, sides }: Piece) =>
    (wide === width && 10 * high <= height) ||
    (high === height && 10 * wide <= width) ||
    sides.some((side, i) => 2 * side >= (i < 2 ? width : height));
  const stray = new Set(found.pieces.filter(isStray));
  const others = found.pieces.filter((piece) => !stray.has(piece));
  const greatest = (values: number[]) => values.reduce((most, value) => Math.max(most, value), 0);
  const rest = greatest(others.map(longerSide));
  // A character that is cut by its box runs along the border, too: but it outweighs what else there is.
  const weightOf = (pieces: Iterable<Piece>) => greatest([...pieces].map(({ weight }) => weight));
  const strayGo = 6 * rest >= Math.max(height, width) && 4 * weightOf(others) >= weightOf(stray);
  const left = found.pieces.filter((piece) => !(strayGo && stray.has(piece)));
  const dark = new Set(left.filter((piece) => depths[found.pieces.indexOf(piece)] >= 0));
  if (!dark.size) throw new NoDigit("no digit: the picture is light and shade without a stroke");
  const main = central([...dark]);
  const isCut = (piece: Piece) => piece !== main && piece.sides.some(Boolean);
  // What is pale within the box is where the pen ran dry.
  const uncut = left.filter((piece) => !isCut(piece) && (dark.has(piece) || !isOutside(piece, main)));
  const largest = greatest(uncut.map(({ area }) => area));
  // A dot beside the character: no broken stroke, as those lie within the box, with ink around them.
  const isSmall = (piece: Piece) => 5 * longerSide(piece) <= longerSide(main);
  const near = uncut.filter((piece) => 20 * piece.area >= largest && !(isSmall(piece) && isOutside(piece, main)));
  // Of many, printed text, perhaps, above and below.
  const isText = ({ box, height: high }: Piece) =>
    3 * high <= main.height && (box[1] <= main.box[0] || box[0] >= main.box[1]);
  const few = near.length > 12 ? near.filter((piece) => !isText(piece)) : near;
  if (few.length > 12) throw new NoDigit("no digit: the picture is noise");
  const keep = few.filter((piece) => !(isSmall(piece) && isInCorner(found, mask, main, piece)));
  const cut = found.pieces.filter((piece) => isCut(piece) && !stray.has(piece));
  if (areSeveral(main, keep, cut, width, whole)) throw new NoDigit(SEVERAL);
  const stays = nearTo(found, mask, main, withoutUnderlines(main, keep));
  const kept = maskOf(found, height, width, (piece) => stays.includes(piece));
  return map(kept, (value, i) => value & mask.data[i]);
}

/** The rings and boxes that are drawn around another piece, the largest first, each with all that is within it. */
export function* framesOf(
  found: Pieces,
  { height, width }: Shape,
  ofLines = false,
): Generator<{ piece: Piece; within: Grid }> {
  const large = found.pieces.filter((piece) => piece.height >= 8 && 2 * piece.width >= piece.height);
  for (const piece of large.sort((a, b) => b.area - a.area)) {
    const [top, bottom, left, right] = piece.box;
    const inner = found.pieces.filter(
      ({ box, height: high }) =>
        box[0] > top && box[1] < bottom && box[2] > left && box[3] < right && 4 * high >= piece.height,
    );
    if (!inner.length) continue;
    const frame = maskOf(found, height, width, (each) => each === piece);
    // A line of single pixels, corner to corner, lets paper through: a pixel more does not.
    const tight = map(frame, (value, i) => value | (i % width ? frame.data[i - 1] : 0));
    const filled = filledOf(tight);
    const within = map(filled, (value, i) => value & ~frame.data[i]);
    const area = sum(filled.data);
    const box = piece.height * piece.width;
    if (2 * sum(within.data) < area || 5 * area < 3 * box) continue;
    // Rings in a row fill less of their box.
    const rings = 20 * area >= 17 * box ? 1 : hillsOf(filled, left, right, piece.height);
    const isWide =
      5 * piece.width >= 4 * piece.height || (ofLines && inner.some(({ height: high }) => 2 * high >= piece.height));
    const isRound = isWide && (4 * area >= 3 * box || (ofLines && rings > 1));
    // Of rings that hang together each has a character in it, or that has become one with its ring.
    if (!(isRound || 10 * area >= 9 * box) || inner.length < rings) continue;
    const inside = maskOf(found, height, width, (each) => inner.includes(each)).data;
    if (inside.some((value, i) => value & within.data[i])) yield { piece, within };
  }
}

/**
 * The ink of characters that are of segments or of dots, joined; null for other ink.
 *
 * `single`: whether it is one character, of which 7/8 of the dots have to become one piece. `dotsAlone`: whether
 * segments are not looked for.
 */
export function joinedOf(mask: Grid, found: Pieces, single = false, dotsAlone = false): Joined | null {
  const { height, width } = mask;
  const { pieces } = found;
  if (pieces.length < 2) return null;
  const box = Math.max(...pieces.map((piece) => piece.box[1])) - Math.min(...pieces.map((piece) => piece.box[0]));
  const inked = sum(mask.data);
  const usual = Math.floor(median(pieces.map(longerSide)));
  const alike = pieces.filter((piece) => longerSide(piece) <= 2 * usual && 2 * longerSide(piece) >= usual);
  const areaOf = (those: Piece[]) => sum(those.map(({ area }) => area));
  const areDots =
    alike.length >= 8 &&
    5 * usual <= box &&
    8 * areaOf(alike) >= 7 * areaOf(pieces) &&
    // Small digits are of one size, too, but have more paper in their boxes.
    2 * areaOf(alike) >= sum(alike.map((piece) => longerSide(piece) ** 2));
  if (areDots) return dotsOf(mask, box, usual, inked, single);
  const high = pieces.filter((piece) => 4 * piece.height >= 3 * box);
  if (dotsAlone || (single && 8 * areaOf(high) >= 7 * inked)) return null;
  // Segments are hardly further apart than they are wide.
  const last = Math.max(1, Math.min(floorDiv(box, 16), floorDiv(2 * meanStroke(mask), 3)));
  for (let reach = 1; reach <= last; reach++) {
    const closed = closedOf(mask, reach);
    const whole = components(closed);
    const tall = Math.max(...whole.pieces.map((piece) => piece.height));
    const isFull = (piece: Piece) => 4 * piece.height >= 3 * tall;
    const held = heldBy(whole, mask);
    const full = whole.pieces.filter(isFull);
    if (8 * sum(held.filter((_, i) => isFull(whole.pieces[i]))) < 7 * inked) continue;
    if (![0, 1].every((edge) => isLevel(full, edge, tall))) continue;
    // In which of the joined pieces each of the others lies, by its first pixel.
    const count = whole.pieces.map(() => 0);
    const highParts = whole.pieces.map(() => 0);
    pieces.forEach((piece, i) => {
      const holder = whole.labels[found.labels.indexOf(i + 1)] - 1;
      count[holder] += 1;
      highParts[holder] += Number(4 * piece.height >= 3 * tall);
    });
    const ofParts = whole.pieces.filter(
      (piece, i) => isFull(piece) && count[i] > 1 && highParts[i] <= 1 && piece.width <= piece.height,
    );
    if (3 * ofParts.length < 2 * full.length) continue;
    const bridges = maskOf(whole, height, width, (piece) => ofParts.includes(piece)).data;
    return { ink: map(mask, (value, i) => value | (closed.data[i] & bridges[i])), dots: false };
  }
  return null;
}

/** Dots of the `usual` size, joined, in ink of the height `box`; null where they are no strokes. */
function dotsOf(mask: Grid, box: number, usual: number, inked: number, single: boolean): Joined | null {
  for (let reach = 1; reach < usual + 2; reach++) {
    const wide = extreme(mask, reach, MAX);
    const whole = components(wide);
    const isHigh = (piece: Piece) => 2 * piece.height >= box;
    const high = whole.pieces.filter(isHigh);
    const held = heldBy(whole, mask).filter((_, i) => isHigh(whole.pieces[i]));
    // Of a line a loop that stays open is a 6 for an 8; of one character, what does not join is perhaps a speck.
    if (!high.length || (single ? 8 * Math.max(...held) < 7 * inked : 32 * sum(held) < 31 * inked)) continue;
    const area = sum(high.map((piece) => piece.area));
    if (5 * area > 3 * sum(high.map((piece) => longerSide(piece) ** 2))) return null;
    return { ink: single ? maskOf(whole, mask.height, mask.width, isHigh) : wide, dots: true };
  }
  return null;
}

/** How much of a mask each piece holds. */
function heldBy({ pieces, labels }: Pieces, mask: Grid): number[] {
  const held = pieces.map(() => 0);
  labels.forEach((label, i) => {
    if (label && mask.data[i]) held[label - 1] += 1;
  });
  return held;
}

/**
 * Whether edges (0: the upper, 1: the lower) lie on a line, within 1/8 of a height, as no hand writes; it falls or rises
 * by 1/8 at most.
 */
function isLevel(pieces: Piece[], edge: number, tall: number): boolean {
  const places = pieces.map(({ box }) => [box[2], box[edge]]).sort(([one], [other]) => one - other);
  const [left, first] = places[0];
  const long = places[places.length - 1][0] - left;
  const fall = places[places.length - 1][1] - first;
  if (8 * Math.abs(fall) > Math.max(long, tall)) return false;
  return places.every(([x, y]) => 8 * Math.abs((y - first) * long - fall * (x - left)) <= tall * long);
}

/** What squares of 2·reach + 1 px do not fit into, if they touch no ink; beyond the picture lies paper. */
function closedOf(mask: Grid, reach: number): Grid {
  const wide = extreme(extreme(pad(mask, reach), reach, MAX), reach, MIN);
  return slice(wide, reach, reach + mask.height, reach, reach + mask.width);
}

/**
 * Of how many hills the upper edge of a piece is, or the lower one if that has more: rings in a row. Between two of them
 * it falls and rises by 1/8 of the height.
 */
function hillsOf(whole: Grid, left: number, right: number, high: number): number {
  const { data, height, width } = whole;
  const count = (levelAt: (column: number) => number) => {
    let [hills, climbing, turn] = [1, true, high];
    for (let column = left; column < right; column++) {
      const level = levelAt(column);
      if (level < turn === climbing) turn = level;
      else if (8 * Math.abs(level - turn) > high) {
        climbing = !climbing;
        turn = level;
        hills += Number(climbing);
      }
    }
    return hills;
  };
  const rows = [...Array(height).keys()];
  const first = (column: number) => rows.find((row) => data[row * width + column])!;
  const last = (column: number) => rows.find((row) => data[(height - 1 - row) * width + column])!;
  return Math.max(count(first), count(last));
}

/** Without flat pieces under all others, as wide as those together. */
function withoutUnderlines(main: Piece, keep: Piece[]): Piece[] {
  const isFlat = (piece: Piece) => piece !== main && 4 * piece.height <= piece.width;
  const rest = keep.filter((piece) => !isFlat(piece)).map(({ box }) => box);
  const low = Math.max(...rest.map((box) => box[1]));
  const wide = Math.max(...rest.map((box) => box[3])) - Math.min(...rest.map((box) => box[2]));
  return keep.filter((piece) => !(isFlat(piece) && piece.box[0] >= low + 2 && piece.width >= wide));
}

/** The main piece, those of half its size, and what is within a quarter of it of any that stay. */
function nearTo(found: Pieces, { height, width }: Shape, main: Piece, keep: Piece[]): Piece[] {
  const reach = Math.max(2, floorDiv(longerSide(main), 4));
  let near = keep.filter((piece) => 2 * longerSide(piece) >= longerSide(main));
  while (near.length < keep.length) {
    const around = extreme(
      maskOf(found, height, width, (piece) => near.includes(piece)),
      reach,
      MAX,
    ).data;
    const reached = new Set<number>();
    found.labels.forEach((label, i) => {
      if (label && around[i]) reached.add(label - 1);
    });
    const nearer = keep.filter((piece) => reached.has(found.pieces.indexOf(piece)));
    if (nearer.length === near.length) break;
    near = nearer;
  }
  return near;
}

/** A loop of the character's height without what leads from it to the border: step 8's last part. */
export function withoutTails(kept: Grid): Grid {
  const { data, height, width } = kept;
  if (!ring(data, height, width).some(Boolean)) return kept;
  const paper = components(map(kept, (value) => 1 - value));
  const holes = paper.pieces.filter(({ sides }) => !sides.some(Boolean));
  if (!holes.length) return kept;
  const hole = holes.reduce((largest, each) => (each.area > largest.area ? each : largest));
  const stroke = meanStroke(kept) + 1;
  const [first, last] = boxOf(kept)!;
  if (5 * (hole.height + 2 * stroke) < 4 * (last - first)) return kept;
  const loop = extreme(
    maskOf(paper, height, width, (piece) => piece === hole),
    stroke,
    MAX,
  ).data;
  const rest = components(map(kept, (value, i) => value & ~loop[i]));
  const tails = maskOf(rest, height, width, ({ sides }) => sides.some(Boolean)).data;
  return map(kept, (value, i) => value & ~tails[i]);
}

function longerSide({ height, width }: Piece): number {
  return Math.max(height, width);
}

/** Whether the middle of a piece lies outside the main piece's box. */
function isOutside(piece: Piece, main: Piece): boolean {
  const [top, bottom, left, right] = piece.box;
  return (
    left + right < 2 * main.box[2] ||
    left + right > 2 * main.box[3] ||
    top + bottom < 2 * main.box[0] ||
    top + bottom > 2 * main.box[1]
  );
}

/** Whether the main piece lies on one side of a piece in its rows, and on one side of it in its columns. */
function isInCorner({ pieces, labels }: Pieces, { width }: Shape, main: Piece, piece: Piece): boolean {
  const [top, bottom, left, right] = piece.box;
  const ofMain = pieces.indexOf(main) + 1;
  let [before, after, above, below] = [false, false, false, false];
  labels.forEach((label, i) => {
    if (label !== ofMain) return;
    const [y, x] = [floorDiv(i, width), i % width];
    if (y >= top && y < bottom) {
      before ||= x < right;
      after ||= x >= left;
    }
    if (x >= left && x < right) {
      above ||= y < bottom;
      below ||= y >= top;
    }
  });
  return !(before && after) && !(above && below);
}

/** Whether others of the main piece's height stand beside it, on its line. */
function areSeveral(main: Piece, keep: Piece[], cut: Piece[], width: number, whole: Shape | null): boolean {
  const string = whole !== null && 5 * whole.width >= 9 * whole.height;
  // Neighbours' remnants: what else stands here whole is a neighbour, too.
  if (!string && cut.some(({ area }) => 8 * area >= main.area)) return false;
  const candidates = string
    ? [...keep, ...cut]
    : keep.filter(({ box: [, , left, right] }) => 24 * Math.min(left, width - right) >= width);
  const others = candidates.filter((piece) => piece !== main && isOnLine(piece, main));
  if (!others.length || string || others.length > 1 || !whole) return others.length > 0;
  // Of two, one is a neighbour that came along unless both together stand nearer to the middle than the main one.
  const [left, right] = [main.box[2], main.box[3]];
  const both = Math.min(left, others[0].box[2]) + Math.max(right, others[0].box[3]);
  return Math.abs(both - width) < Math.abs(left + right - width);
}

function isOnLine(piece: Piece, main: Piece): boolean {
  const [top, bottom, left, right] = piece.box;
  const overlap = Math.min(right, main.box[3]) - Math.max(left, main.box[2]);
  const level = Math.min(bottom, main.box[1]) - Math.max(top, main.box[0]);
  return (
    8 * overlap <= Math.min(piece.width, main.width) &&
    4 * piece.area >= main.area &&
    2 * piece.height >= main.height &&
    2 * main.height >= piece.height &&
    8 * level >= 5 * Math.max(piece.height, main.height)
  );
}
