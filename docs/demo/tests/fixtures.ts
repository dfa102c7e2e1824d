// The pictures that the Python tests know too, and what must become of them.

import { readFileSync } from "node:fs";

const FOLDER = new URL("../../../tests/fixtures/pictures/", import.meta.url);

export interface Fixture {
  name: string;
  data: Buffer;
  label: number | null;
  /** The 28 × 28 digit, or null where there is none. */
  digit: number[] | null;
  error?: string;
}

interface Expected {
  label: number | null;
  digit?: string;
  error?: string;
}

const expected: Record<string, Expected> = JSON.parse(readFileSync(new URL("expected.json", FOLDER), "utf8"));

export const fixtures: Fixture[] = Object.entries(expected).map(([name, { label, digit, error }]) => ({
  name,
  data: readFileSync(new URL(name, FOLDER)),
  label,
  digit: digit ? [...Buffer.from(digit, "base64")] : null,
  error,
}));
