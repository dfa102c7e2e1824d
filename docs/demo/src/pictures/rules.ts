// Rules of paper, tables and boxes: lenet_zoo/pictures/rules.py in TypeScript, step 7.

import { central, components, maskOf, runLengths } from "./components";
import {
  boxOf,
  edgeCount,
  extreme,
  extremeOfRows,
  floorDiv,
  map,
  MAX,
  MIN,
  nearest,
  slice,
  sum,
  transpose,
  type Box,
  type Grid,
} from "./kernels";

// The columns of old tables are ruled as thick as the side over this. Lying bars and feet of digits are as thick.
const THICK = 7;

interface Rules {
  /** The pixels that belong to rules alone. */
  rules: Grid;
  /** Their course, crossing strokes included. */
  courses: Grid;
}

/**
 * The pixels that belong to rules alone, not to a stroke that crosses one; null where there are none. `boxed`: whether
 * the character may stand in a box.
 */
export function rulesIn(mask: Grid, rise: Grid, boxed: boolean): Grid | null {
  const box = boxed ? boxIn(mask) : null;
  if (box) return box;
  const { height, width } = mask;
  const turned = lyingRules(transpose(mask)) ?? lyingRules(transpose(mask), undefined, THICK);
  const upright = turned && { rules: transpose(turned.rules), courses: transpose(turned.courses) };
  const lying = lyingRules(mask);
  if (!upright && !lying) return null;
  const rules = map(mask, (ink, i) => {
    const crossing = ink && lying?.courses.data[i] && upright?.courses.data[i];
    return Number(Boolean(lying?.rules.data[i] || upright?.rules.data[i] || crossing));
  });
  const rest = map(mask, (ink, i) => ink & ~rules.data[i]);
  if (!boxOf(rest)) return null;
  const found = components(rest);
  const main = central(found.pieces);
  if (6 * Math.max(main.height, main.width) < Math.max(height, width)) return null; // nothing is left: a 1
  // The bar of a 4 or 7 that is cut to its ink crosses its picture, too: but then the character fills the picture in
  // the other direction as well, neighbours that do not touch the bar left aside, and the bar is as dark as the rest.
  const around = extreme(rules, 1, MAX).data;
  const touching = new Set(found.labels.filter((label, i) => label && around[i]));
  const character = maskOf(found, height, width, (piece) => touching.has(found.pieces.indexOf(piece) + 1));
  if (!boxOf(character)) return rules;
  let filled = lying && fills(lying.rules, character, rest);
  if (upright && !filled && fills(transpose(upright.rules), transpose(character), rest)) {
    filled = !beside(
      upright.rules,
      maskOf(found, height, width, (piece) => piece === main),
    );
  }
  if (filled) {
    const risen = (part: Grid) => part.data.reduce((total, value, i) => total + value * rise.data[i], 0);
    if (10 * risen(rules) * sum(rest.data) >= 9 * risen(rest) * sum(rules.data)) return null;
  }
  return rules;
}

/** The pixels of a box that lies within the picture around a character, which may touch it; null without a box. */
function boxIn(mask: Grid): Grid | null {
  const { height, width } = mask;
  const apart = (rows: number[], tall: number) => rows.length > 0 && 5 * (rows[rows.length - 1] - rows[0]) >= 2 * tall;
  if (![mask, transpose(mask)].every((lines) => apart(fullRows(lines, 4), lines.height))) return null; // as nearly always
  const unit = Math.max(height, width);
  const lying = lyingRules(mask, unit, undefined, (2 * width) / 5);
  const turned = lyingRules(transpose(mask), unit, undefined, (2 * height) / 5);
  if (!lying || !turned) return null;
  const [rows, columns] = [extreme(lying.courses, 2, MAX), extreme(turned.courses, 2, MAX)];
  const full = fullRows(columns, 4);
  let ends = full.length ? sidesIn(rows, [full[0], full[full.length - 1]]) : null;
  const sides = ends && sidesIn(columns, ends);
  ends = sides && sidesIn(rows, sides);
  if (!ends || !sides) return null;
  const [[top, bottom], [left, right]] = [ends, sides];
  const [upright, courses] = [transpose(turned.rules).data, transpose(turned.courses).data];
  const rules = map(mask, (ink, i) =>
    Number(lying.rules.data[i] || upright[i] || (lying.courses.data[i] && courses[i] && ink)),
  );
  // As thick as the thickest of the four; all are seen here with 2 px more.
  const deep = floorDiv(unit, 9) + 2;
  const framed = slice(rules, top, bottom + 1, left, right + 1);
  const thick = [framed, transpose(framed)].flatMap((lines) => {
    const { height: tall, width: long } = lines;
    const depth = Math.min(deep, tall);
    return [slice(lines, 0, depth, 0, long), slice(lines, tall - depth, tall, 0, long)];
  });
  const edge = 3 + Math.max(...thick.map((side) => fullRows(side, 5).length));
  const inside: Box = [top + edge, bottom + 1 - edge, left + edge, right + 1 - edge];
  if (inside[1] <= inside[0] || inside[3] <= inside[2]) return null;
  const within = components(slice(mask, ...inside)).pieces;
  // A block 8 has its bar there, and the corners of a 0 may be round.
  if (!within.length || 3 * Math.max(...within.map((piece) => piece.height)) < bottom - top) return null;
  return map(rules, (value, i) => {
    const [y, x] = [floorDiv(i, width), i % width];
    const framing = y >= top && y <= bottom && x >= left && x <= right;
    const inner = y >= inside[0] && y < inside[1] && x >= inside[2] && x < inside[3];
    return Number(value && framing && !inner);
  });
}

/** The rows that so much of the width is in. */
function fullRows({ data, height, width }: Grid, tenths: number): number[] {
  const isFull = (y: number) => 10 * sum(data.subarray(y * width, (y + 1) * width)) >= tenths * width;
  return Array.from({ length: height }, (_, y) => y).filter(isFull);
}

/**
 * The first and the last row that lines go along from one column to another, and not on beyond; null for others.
 *
 * They are 2/5 of the picture apart.
 */
function sidesIn({ data, height, width }: Grid, [first, last]: [number, number]): [number, number] | null {
  const long = last + 1 - first;
  const rows = Array.from({ length: height }, (_, y) => y).filter((y) => {
    const within = sum(data.subarray(y * width + first, y * width + last + 1));
    const beyond = sum(data.subarray(y * width, (y + 1) * width)) - within;
    return 10 * within >= 9 * long && 10 * beyond <= long;
  });
  if (!rows.length || 5 * (rows[rows.length - 1] - rows[0]) < 2 * height) return null;
  return [rows[0], rows[rows.length - 1]];
}

/**
 * Whether lying rules may be bars of a character that is cut to its ink.
 *
 * With the pieces that touch them they fill the height, and the pen that wrote the rest may have drawn them.
 */
function fills(lying: Grid, character: Grid, rest: Grid): boolean {
  const columns = new Set([...lying.data.keys()].filter((i) => lying.data[i]).map((i) => i % lying.width)).size;
  if (3 * sum(lying.data) * edgeCount(rest) < 5 * columns * sum(rest.data)) return false;
  const [first, last] = boxOf(map(lying, (value, i) => value | character.data[i]))!;
  const near = floorDiv(Math.max(lying.height, lying.width), 32);
  return first <= near && last >= lying.height - near;
}

/**
 * Whether a character of nearly the picture's height stands beside a rule and meets it in one place at most.
 *
 * The side of a block digit meets the rest at both ends; what a stem of 4 or 9 leaves is not so high.
 */
function beside(upright: Grid, main: Grid): boolean {
  const [top, bottom] = boxOf(main)!;
  const meeting = boxOf(map(extreme(main, 1, MAX), (value, i) => value & upright.data[i]));
  const reach = meeting ? meeting[1] - meeting[0] : 0;
  return 4 * (bottom - top) >= 3 * main.height && 2 * reach < main.height;
}

/**
 * The pixels of rules along a line of writing, of a picture whose characters are `unit` px high at most.
 *
 * These may end within the picture: what is straight over half of its width is no stroke of a digit.
 */
export function rulesAlong(mask: Grid, unit: number): Grid | null {
  const found = lyingRules(mask, unit);
  return found && mask.data.some((ink, i) => ink && !found.rules.data[i]) ? found.rules : null;
}

/**
 * The rules that go from left to right.
 *
 * `ofLine` is the side of one character's picture, if the mask is not that; 1/`share` of it is as deep as a rule gets.
 * What is at least `long` pixels is a rule wherever it ends, if there is an `ofLine`.
 */
function lyingRules(mask: Grid, ofLine?: number, share = 9, long?: number): Rules | null {
  const { height, width } = mask;
  if (!ofLine && !mask.data.some((ink, i) => ink && Math.min(i % width, width - 1 - (i % width)) < 2)) return null;
  const free = long ?? (ofLine ? Math.max(width / 2, 1.5 * ofLine) : Infinity);
  const unit = ofLine ?? Math.max(height, width);
  const thick = floorDiv(unit, share);
  const reach = Math.max(2, floorDiv(unit, 14));
  const lengths = runLengths(transpose(mask));
  const depth = mask.data.map((_, i) => lengths[(i % width) * height + floorDiv(i, width)]);
  // Straight stretches of what is thin, by an opening along the row that forgives a step of one pixel; and whole long
  // runs, so that the crossings of a grid do not break them.
  const thin = extremeOfRows(
    map(mask, (ink, i) => ink & Number(depth[i] <= thick)),
    1,
    MAX,
  );
  const opened = transpose(extremeOfRows(extremeOfRows(transpose(thin), reach, MIN), reach, MAX));
  const along = runLengths(mask);
  const course = map(opened, (value, i) => value | Number(mask.data[i] && 2 * along[i] >= width));
  const rules = map(mask, () => 0);
  const courses = map(mask, () => 0);
  for (const { box, ...piece } of components(course).pieces) {
    if (8 * piece.width < width) continue;
    const [first, last] = [Math.max(0, box[0] - 2), Math.min(height, box[1] + 2)]; // what continues it lies between
    const rowsOf = (x: number) => {
      const rows: number[] = [];
      for (let y = first; y < last; y++) if (course.data[y * width + x]) rows.push(y);
      return rows;
    };
    const columns = Array.from({ length: width }, (_, x) => x).filter((x) => rowsOf(x).length);
    const [start, end] = [columns[0], columns[columns.length - 1] + 1];
    if (5 * (piece.height - 1) > end - start || 4 * columns.length < 3 * (end - start)) continue;
    if (columns.length < free) {
      if (5 * columns.length < 4 * width || (start > 1 && end < width - 1)) continue;
      if (![start, end - 1].every((x) => leaves(rowsOf(x), x, mask))) continue;
    }
    const inked: number[] = [];
    for (let i = first * width; i < last * width; i++) if (course.data[i] && mask.data[i]) inked.push(i);
    const depths = inked.map((i) => depth[i]).sort((a, b) => a - b);
    if (!depths.length || depths[depths.length >> 1] > thick) continue;
    // The lower quartile: a bar of the character upon the rule is thicker.
    const own = inked.filter((i) => 2 * depth[i] <= 3 * depths[depths.length >> 2] + 3);
    const curved = waves(own, width);
    if (!ofLine && curved) continue; // the foot of a 2 that goes from one side to the other
    const straight = curved ? straightIn(inked, first, last - first, width, free) : null;
    for (const i of own) if (!straight || straight.has(i)) rules.data[i] = 1;
    for (let i = first * width; i < last * width; i++) courses.data[i] |= course.data[i];
  }
  return boxOf(rules) && { rules, courses };
}

/** Whether the middles of its columns lie over 1 px (root mean square) away from the straight line through them. */
function waves(own: number[], width: number): boolean {
  const twice = new Map<number, number>(); // the middle row of each column, doubled
  const first = new Map<number, number>();
  for (const i of own) {
    const [y, x] = [floorDiv(i, width), i % width];
    if (!first.has(x)) first.set(x, y);
    twice.set(x, first.get(x)! + y);
  }
  const columns = [...twice];
  const summed = (value: (x: number, y: number) => number) => columns.reduce((total, [x, y]) => total + value(x, y), 0);
  const n = columns.length;
  const [sumX, sumY] = [summed((x) => x), summed((_, y) => y)];
  const across = n * summed((x) => x * x) - sumX * sumX;
  const down = n * summed((_, y) => y * y) - sumY * sumY;
  const both = n * summed((x, y) => x * y) - sumX * sumY;
  return across * down - both * both > 4 * n * n * across;
}

/**
 * The straight lines in a band of ink, 3 px thick and `least` columns long, with ink in nine columns of ten.
 *
 * The feet of several digits that touch, or stand upon a rule, are as thin and long as a rule together. But they are
 * curved: no straight line goes through them all.
 */
function straightIn(ink: number[], first: number, height: number, width: number, least: number): Set<number> {
  const found = new Set<number>();
  for (let rest = ink; ; rest = rest.filter((i) => !found.has(i))) {
    let [best, upon] = [0, [] as number[]];
    // From the first column to the last.
    for (let fall = 1 - height; fall < height; fall += 2) {
      const levels = rest.map(
        (i) => floorDiv(i, width) - first - nearest(fall * (i % width), width) + Math.max(fall, 0),
      );
      const tall = height + Math.abs(fall);
      const filled = new Uint8Array((tall + 2) * width);
      rest.forEach((i, at) => {
        for (let row = levels[at]; row <= levels[at] + 2; row++) filled[row * width + (i % width)] = 1;
      });
      for (let middle = 1; middle <= tall; middle++) {
        const count = sum(filled.subarray(middle * width, (middle + 1) * width));
        if (count <= best) continue;
        [best, upon] = [count, rest.filter((_, at) => Math.abs(levels[at] + 1 - middle) <= 1)];
      }
    }
    const across = upon.map((i) => i % width);
    if (best < least || 10 * best < 9 * (Math.max(...across) + 1 - Math.min(...across))) return found;
    for (const i of upon) found.add(i);
  }
}

/** Whether a stretch whose end has these rows leaves the picture there, by the side or by the top or bottom. */
function leaves(rows: number[], column: number, { height, width }: Grid): boolean {
  return Math.min(column, width - 1 - column) <= 1 || rows[0] <= 1 || rows[rows.length - 1] >= height - 2;
}

/**
 * The picture without its rules, and the pixels that went, among them the faint edge of a rule.
 *
 * Pixels much darker than the rule are ink upon it, and stay.
 */
export function withoutRules(rise: Grid, mask: Grid, rules: Grid): { rise: Grid; gone: Grid } {
  const levels = rise.data.filter((_, i) => rules.data[i]).sort();
  const median = levels[levels.length >> 1];
  const gone = map(extreme(rules, 1, MAX), (value, i) => {
    const ofInk = mask.data[i] && !rules.data[i];
    return Number(value && 2 * rise.data[i] <= 3 * median && !ofInk);
  });
  return { rise: map(rise, (value, i) => (gone.data[i] ? 0 : value)), gone };
}
