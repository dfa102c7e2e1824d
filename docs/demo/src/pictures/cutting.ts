// One character of a strip by itself: lenet_zoo/pictures/cutting.py in TypeScript, whose docstring says how.

import { components, maskOf, type Piece, type Pieces } from "./components";
import { boxOf, extreme, map, MAX, max, slice, type Grid } from "./kernels";
import { place } from "./placing";

const SIZE = 28;
const INK = 64;
const NEAR = 2;

/** The ink of one character: its own pieces, and those that it shares, between two columns. */
interface Cell {
  own: number[];
  shared: number[];
  columns: [left: number, right: number];
}

/** Each character of a strip, alone, 28×28; `middles` are the columns in their middles, ascending. */
export function charactersAlone(pixels: Grid, middles: number[]): Uint8Array[] {
  const strip = new StripOfPieces(pixels);
  return strip.cells(middles).map((cell) => strip.placed(cell));
}

/**
 * `charactersAlone` of several texts that one strip may have, as far as they differ: the pictures, each once, and which
 * is that of each character of each text; −1 for what all texts have, as the same class.
 */
export function charactersOfTexts(
  pixels: Grid,
  texts: { classes: number[]; middles: number[] }[],
): { pictures: Uint8Array[]; which: number[][] } {
  const strip = new StripOfPieces(pixels);
  const cells = texts.map(({ middles }) => strip.cells(middles));
  const keys = cells.map((several) => several.map((cell) => JSON.stringify(cell)));
  const labelled = keys.map((several, i) => new Set(several.map((key, j) => `${key} ${texts[i].classes[j]}`)));
  const found = new Map<string, number>();
  const pictures: Uint8Array[] = [];
  const which = keys.map((several, i) =>
    several.map((key, j) => {
      const cell = cells[i][j];
      const empty = !cell.own.length && !cell.shared.length;
      if (!empty && labelled.every((text) => text.has(`${key} ${texts[i].classes[j]}`))) return -1;
      if (!found.has(key)) found.set(key, pictures.push(strip.placed(cell)) - 1);
      return found.get(key)!;
    }),
  );
  return { pictures, which };
}

/** A strip that characters are cut out of. */
class StripOfPieces {
  private readonly pieces: Pieces;

  constructor(private readonly pixels: Grid) {
    this.pieces = components(map(pixels, (value) => Number(value >= INK)));
  }

  /** Steps 2 to 4, the remnants in a cell left aside. */
  cells(middles: number[]): Cell[] {
    const { height, width } = this.pixels;
    const { pieces, labels } = this.pieces;
    const edges = [0, ...middles.slice(1).map((at, i) => Math.ceil((middles[i] + at) / 2)), width];
    const ink = pieces.map(() => middles.map(() => 0));
    for (let x = 0, cell = 0; x < width; x++) {
      while (cell < middles.length - 1 && x >= edges[cell + 1]) cell++;
      for (let y = 0; y < height; y++) {
        const label = labels[y * width + x];
        if (label) ink[label - 1][cell]++;
      }
    }
    const numbers = pieces.map((_, n) => n);
    const sharing = pieces.map(
      ({ box: [, , left, right] }) => middles.filter((at) => left <= at && at < right).length > 1,
    );
    const owner = ink.map((each) => each.indexOf(max(each)));
    return middles.map((_, i) => {
      const mine = numbers.filter((n) => !sharing[n] && owner[n] === i).map((n) => pieces[n]);
      const largest = mine.reduce((best, piece) => (piece.area > best.area ? piece : best), mine[0]);
      const stays = ({ area, box: [, , left, right] }: Piece) =>
        (left < largest.box[3] + NEAR && right > largest.box[2] - NEAR) || 4 * area >= largest.area;
      const own = numbers.filter((n) => mine.includes(pieces[n]) && stays(pieces[n]));
      const shared = numbers.filter((n) => sharing[n] && ink[n][i]);
      return { own, shared, columns: shared.length ? [edges[i], edges[i + 1]] : [0, 0] };
    });
  }

  /** Steps 4 to 6 of one cell. */
  placed({ own, shared, columns: [left, right] }: Cell): Uint8Array {
    const { height, width } = this.pixels;
    const of = (some: number[]) => {
      const chosen = new Set(some.map((n) => this.pieces.pieces[n]));
      return maskOf(this.pieces, height, width, (piece) => chosen.has(piece));
    };
    const here = of(own);
    if (shared.length) {
      const part = withoutRemnants(slice(of(shared), 0, height, left, right));
      for (let y = 0, at = 0; y < height; y++) {
        for (let x = left; x < right; x++, at++) here.data[y * width + x] |= part.data[at];
      }
    }
    const near = extreme(here, 1, MAX).data;
    const { labels } = this.pieces;
    const alone = map(this.pixels, (value, at) => (near[at] && (here.data[at] || !labels[at]) ? value : 0));
    const box = boxOf(here) && boxOf(alone);
    return box ? place(slice(alone, ...box), SIZE) : new Uint8Array(SIZE * SIZE);
  }
}

/** Step 4 of what is left of touching characters in one cell. */
function withoutRemnants(part: Grid): Grid {
  const pieces = components(part);
  const largest = max(pieces.pieces.map(({ area }) => area));
  return maskOf(pieces, part.height, part.width, ({ sides, area }) => !(sides[2] || sides[3]) || 5 * area >= largest);
}
