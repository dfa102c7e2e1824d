// Any picture of one character → a 28×28 digit as MNIST was made: lenet_zoo/pictures in TypeScript, module by module.
//
// The steps are specified in the docstring of lenet_zoo/pictures/character.py, and functions here bear the names that
// they have there. Both sides give the same bytes from the same pixels (tests/fixtures/pictures).

import { abovePattern, inkIsBright, refuseNoise, refuseSoftLight, riseAbovePaper, uponBlob, type Ink } from "./ground";
import {
  boxOf,
  clip,
  extreme,
  fit,
  floorDiv,
  map,
  MAX,
  otsu,
  pad,
  ring,
  slice,
  sum,
  type Box,
  type Grid,
} from "./kernels";
import { keptPieces, withoutTails, type Shape } from "./pieces";
import { evenStroke, isNormal, narrowed, place, upright } from "./placing";
import { NoDigit, type Character } from "./refusals";
import { rulesIn, withoutRules } from "./rules";
import { cornersIn, paintedOver, sheetIn, surroundOf } from "./sheet";

/** The longer side of the working picture. */
const SIDE = 96;
/** Of a larger picture so many pixels of its longer side are read. */
export const ENOUGH = 4 * SIDE;
/** Levels between ink and paper. */
const LEAST_CONTRAST = 4;

/** Steps 1 to 15: grey levels of one character, row by row → size × size. Throws NoDigit. */
export function digitFromGrey(grey: Uint8Array, height: number, width: number, size = 28): Uint8Array {
  return findCharacter(grey, height, width, size).pixels;
}

/** The same, and whether ink reaches the edge of the picture. */
export function findCharacter(grey: Uint8Array, height: number, width: number, size = 28): Character {
  if (height === size && width === size) {
    for (const candidate of [grey, grey.map((level) => 255 - level)]) {
      if (isNormal({ data: candidate, height, width }, size)) return { pixels: candidate.slice(), atEdge: false };
    }
  }
  let crop: Grid = { data: grey, height, width };
  for (let i = 0; i < 3; i++) {
    const picture = fit(crop, SIDE);
    const surround = surroundOf(picture);
    const corners = surround && cornersIn(surround, picture);
    if (corners) {
      crop = paintedOver(crop, corners);
      continue;
    }
    const sheet = surround && sheetIn(surround);
    if (!sheet) break;
    const { box, around } = sheet;
    crop = cut(around ? paintedOver(crop, around) : crop, box, picture);
  }
  const { ink, atEdge } = inkOf(crop, inkIsBright(fit(crop, SIDE)), false);
  return { pixels: asMnist(ink, size), atEdge };
}

/**
 * The same of ink that was drawn here, 255 on 0. Ink and paper are known, and there is nothing else on it, so steps 1, 3
 * and 4, shadows and frames have nothing to find; and the paper goes on around the pad, so that a line up to its edge is
 * neither a rule nor a neighbour's remnant.
 */
export function digitFromDrawing(drawing: Uint8Array, height: number, width: number, size = 28): Uint8Array {
  const paper = pad({ data: drawing, height, width }, floorDiv(Math.max(height, width), 14));
  return asMnist(inkOf(paper, true, true).ink, size);
}

/** Steps 11 to 15. */
function asMnist(ink: Grid, size: number): Uint8Array {
  return place(evenStroke(narrowed(upright(ink))), size);
}

/** Steps 5 to 10: the ink alone, 0 … 255, cut to its box; and whether ink reaches the edge of the picture. */
function inkOf(crop: Grid, bright: boolean, drawn: boolean): { ink: Grid; atEdge: boolean } {
  let atEdge = false;
  for (let turn = 0; ; turn++) {
    const picture = fit(crop, SIDE);
    const strokes = drawn
      ? { bright, found: thresholdOf(riseAbovePaper(picture, true), false) }
      : strokesOf(picture, bright);
    bright = strokes.bright;
    let { threshold, paper, ink, mask } = strokes.found;
    let { rise } = strokes.found;
    if (!turn) atEdge = ring(mask.data, mask.height, mask.width).some(Boolean);
    const original = Math.max(crop.height, crop.width);
    const pitch = Math.max(2, Math.ceil(SIDE / original));
    if (original >= 16) refuseNoise(rise, mask, ink - paper, pitch);
    const upon = drawn ? null : abovePattern(rise, mask, threshold, paper, picture);
    if (upon) {
      [threshold, paper, ink] = upon;
      const least = threshold;
      mask = map(rise, (value) => Number(value >= least));
    } else refuseSoftLight(rise, mask, ink - paper, Math.max(pitch, 4));
    const pale = floorDiv(threshold + ink, 2);
    const pieces = keptPieces(rise, mask, pale, original >= 2 * SIDE, turn ? null : crop, !drawn);
    const kept = withoutTails(pieces);
    const [solid, inked] = [ink, mask];
    rise = map(rise, (value, i) => (kept.data[i] && !inked.data[i] ? solid : value));
    const [top, bottom, left, right] = boxOf(kept)!;
    const long = Math.max(bottom - top, right - left);
    if (2 * long < SIDE) {
      const margin = floorDiv(long, 3) + 1;
      crop = cut(crop, [top - margin, bottom + margin, left - margin, right + margin], picture);
      if (turn < 3) continue;
    }
    if (long * Math.max(crop.height, crop.width) < 3 * SIDE) {
      throw new NoDigit("no digit: the only mark is under 3 pixels");
    }
    const short = Math.min(bottom - top, right - left);
    if (long < 2 * short && 10 * sum(kept.data) >= 9 * (bottom - top) * (right - left)) {
      throw new NoDigit("no digit: the picture is full");
    }
    const near = extreme(kept, 4, MAX).data;
    const soft = map(rise, (value, i) => near[i] * clip(floorDiv((value - paper) * 255, ink - paper), 0, 255));
    return { ink: slice(soft, ...boxOf(soft, 64)!), atEdge };
  }
}

/** Steps 5 to 7, and whether the ink is bright. */
function strokesOf(picture: Grid, bright: boolean): { bright: boolean; found: Ink } {
  const look = (isBright: boolean, radius?: number) => thresholdOf(riseAbovePaper(picture, isBright, radius));
  return uponBlob(look(bright), look, bright, SIDE, floorDiv(SIDE, 4), picture);
}

/** Steps 6 and 7; `boxed`: whether the character may stand in a box. */
function thresholdOf(rise: Grid, boxed = true): Ink {
  let [threshold, paper, ink] = otsu(rise.data);
  let mask = map(rise, (value) => Number(value >= threshold));
  const rules = ink - paper >= LEAST_CONTRAST ? rulesIn(mask, rise, boxed) : null;
  if (rules) {
    const rest = withoutRules(rise, mask, rules);
    rise = rest.rise;
    [threshold, paper, ink] = otsu(rise.data.filter((_, i) => !rest.gone.data[i]));
    mask = map(rise, (value) => Number(value >= threshold));
  }
  if (ink - paper < LEAST_CONTRAST) throw new NoDigit("no digit: the picture is of one tone");
  return { rise, threshold, paper, ink, mask };
}

/** The part of a picture that a box marks in its scaled copy. */
function cut(grey: Grid, [top, bottom, left, right]: Box, frame: Shape): Grid {
  const row = (at: number) => (at * grey.height) / frame.height;
  const column = (at: number) => (at * grey.width) / frame.width;
  return slice(
    grey,
    Math.max(0, Math.floor(row(top))),
    Math.min(grey.height, Math.ceil(row(bottom))),
    Math.max(0, Math.floor(column(left))),
    Math.min(grey.width, Math.ceil(column(right))),
  );
}
