import { PNG } from "pngjs";
import { describe, expect, test } from "vitest";

import { beamSearch, bestPath, logProbability, spans, type LineAnswers } from "../../src/decoding";
import { charactersAlone, charactersOfTexts } from "../../src/pictures/cutting";
import { greyFromRgba } from "../../src/pictures/grey";
import { blockMeans, reduction } from "../../src/pictures/kernels";
import { ENOUGH_OF_LINE, linesFromDrawing, linesFromGrey } from "../../src/pictures/line";
import { NoDigit } from "../../src/pictures/refusals";
import { boxIn } from "../../src/pictures/strip";
import { decodings, lineFixtures } from "../fixtures";

describe("a picture of a number becomes the same strips as in Python", () => {
  test.each(lineFixtures.map((fixture) => [fixture.name, fixture] as const))("%s", (_, { data, strips, error }) => {
    const png = PNG.sync.read(data);
    const isOpaque = png.data.every((value, i) => i % 4 < 3 || value === 255);
    const factor = isOpaque ? reduction(png.height, png.width, ENOUGH_OF_LINE) : 1; // step R2
    const [height, width] = [png.height, png.width].map((side) => Math.floor(side / factor));
    const grey = greyFromRgba(blockMeans(png.data, png.height, png.width, factor, 4), height, width);
    const made = () => linesFromGrey({ data: grey, height, width }, [png.height, png.width]);
    if (!strips) return expect(made).toThrow(new NoDigit(error));
    const lines = made();
    expect(lines.map(({ pixels }) => pixels.width)).toEqual(strips.map(({ width }) => width));
    lines.forEach((line, i) => {
      expect([...line.pixels.data]).toEqual(strips[i].pixels);
      const middles: number[] = [];
      for (let at = 22.5; at < line.pixels.width - 12; at += 15) middles.push(at);
      expect(charactersAlone(line.pixels, middles).flatMap((picture) => [...picture])).toEqual(strips[i].alone);
      const classes = middles.map((_, n) => n % 10);
      const texts = [
        { classes, middles },
        { classes: [...classes.slice(0, -1), 9], middles },
        { classes: classes.slice(0, -2), middles: middles.slice(0, -2) },
      ];
      const { pictures, which } = charactersOfTexts(line.pixels, texts);
      expect(which.flat()).toEqual(strips[i].which);
      texts.forEach((text, n) =>
        charactersAlone(line.pixels, text.middles).forEach((picture, j) => {
          if (which[n][j] >= 0) expect(pictures[which[n][j]]).toEqual(picture);
        }),
      );
      const half = strips[i].width / 2;
      expect([boxIn(line, 0, half), boxIn(line, half, 1e4)]).toEqual(strips[i].boxes);
    });
  });

  test("of which there are both kinds", () => {
    expect(lineFixtures.filter(({ strips }) => strips).length).toBeGreaterThan(10);
    expect(lineFixtures.filter(({ strips }) => !strips).length).toBeGreaterThan(3);
  });
});

test("what is drawn up to the pad's edge is no remnant of something else", () => {
  const [height, width] = [140, 300];
  const drawing = { data: new Uint8Array(height * width), height, width };
  for (let y = 0; y < 100; y++)
    for (const x of [60, 160, 250]) drawing.data.fill(255, y * width + x, y * width + x + 9);
  const [strip] = linesFromDrawing(drawing);
  const inked = Array.from(
    { length: strip.pixels.width },
    (_, x) => strip.pixels.data[14 * strip.pixels.width + x] > 127,
  );
  expect(inked.filter((ink, x) => ink && !inked[x - 1]).length).toBe(3);
});

describe("answers along a line become the same text as in Python", () => {
  test.each(decodings.map((each, i) => [i, each] as const))("%i", (_, wanted) => {
    const classes = 11;
    const data = Float64Array.from(
      wanted.logits.flatMap((row) => {
        const total = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
        return row.map((logit) => logit - total);
      }),
    );
    const answers: LineAnswers = { data, length: wanted.logits.length, classes };
    const text = bestPath(answers);
    expect(text).toEqual(wanted.best_path);
    expect(logProbability(answers, text)).toBeCloseTo(wanted.log_probability, 9);
    expect(spans(answers, text)).toEqual(wanted.spans);
    const paths = beamSearch(answers).slice(0, wanted.beam.length);
    expect(paths.map((path) => path.classes)).toEqual(wanted.beam.map(([path]) => path));
    paths.forEach((path, i) => expect(path.logProbability).toBeCloseTo(wanted.beam[i][1], 9));
  });
});
