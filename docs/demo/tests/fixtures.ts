// The pictures that the Python tests know too, and what must become of them.

import { readFileSync } from "node:fs";

const read = (name: string) => readFileSync(new URL(`../../../tests/fixtures/${name}`, import.meta.url));
const bytesOf = (base64: string) => [...Buffer.from(base64, "base64")];

export interface Fixture {
  name: string;
  data: Buffer;
  label: number | null;
  /** The 28 × 28 digit, or null where there is none. */
  digit: number[] | null;
  /** Whether ink reaches the edge of the picture. */
  atEdge: boolean;
  error?: string;
}

interface Expected {
  label: number | null;
  digit?: string;
  at_edge?: boolean;
  error?: string;
}

const expected: Record<string, Expected> = JSON.parse(read("pictures/expected.json").toString());

export const fixtures: Fixture[] = Object.entries(expected).map(([name, { label, digit, at_edge, error }]) => ({
  name,
  data: read(`pictures/${name}`),
  label,
  digit: digit ? bytesOf(digit) : null,
  atEdge: at_edge ?? false,
  error,
}));

type Boxes = [number, number, number, number][];

export interface LineFixture {
  name: string;
  data: Buffer;
  /** 28 pixels high; null where there is no line. `alone`: what stands around every 15th column, from 22.5 on, as a
   * picture of a character; `which`: of these the ones that tell three texts apart; `boxes`: of the ink in each half of
   * it. */
  strips: { width: number; pixels: number[]; alone: number[]; which: number[]; boxes: Boxes }[] | null;
  error?: string;
}

interface ExpectedLines {
  strips?: { width: number; pixels: string; alone: string; which: number[]; boxes: Boxes }[];
  error?: string;
}

const expectedLines: Record<string, ExpectedLines> = JSON.parse(read("lines/expected.json").toString());

export const lineFixtures: LineFixture[] = Object.entries(expectedLines).map(([name, { strips, error }]) => ({
  name,
  data: read(`lines/${name}`),
  strips: strips
    ? strips.map((strip) => ({ ...strip, pixels: bytesOf(strip.pixels), alone: bytesOf(strip.alone) }))
    : null,
  error,
}));

/** Answers along lines, as logits, and what becomes of them. */
interface Decoding {
  logits: number[][];
  best_path: number[];
  log_probability: number;
  spans: [number, number][];
  beam: [number[], number][];
}

export const decodings: Decoding[] = Object.values(JSON.parse(read("lines/decoding.json").toString()));
