// Strips of writing → their numbers: lenet_zoo/classify/reader.py in TypeScript. Functions bear the names that they have
// there.

import type { InferenceSession } from "onnxruntime-web/wasm";

import numbersUrl from "../models/lenet5_numbers.onnx?url";
import { beamSearch, bestPath, logProbability, spans, type LineAnswers, type Path } from "./decoding";
import { loadSession, moved, pixelsOf } from "./network";
import facts from "./numbers.json";
import { charactersOfTexts } from "./pictures/cutting";
import { nearest, resampled, sum, type Grid } from "./pictures/kernels";
import { boxIn, HEIGHT, type Frame, type Strip } from "./pictures/strip";

/** Pixels of the line from one answer of the network to the next, and the middle of the first answer's window. */
export const STEP = 2;
export const FIRST = 14;
/** A text over the first is taken as it is. Of others so many are looked at again, and the looks count so much. */
const [CERTAIN, TEXTS, WEIGHT] = [0.9, 6, 0.5];
/** A line that is not sure is read in these widths, too, its own being 1, and so many texts of each other reading are weighed. */
const WIDTHS = [
  [7, 10],
  [7, 5],
];
const MORE = 3;
/** Lines and characters are looked at where they are placed, and so many rows lower. */
const ROWS = [1, -1];
/** The largest probability of a text that was looked at again. */
const SUREST = 0.89;
/** A text that is taken as it is has its probability to this power. */
const CAUTION = 1.5;
/** What looks like no number: so many digits or more, and less than this for each, as a geometric mean. */
const [MANY, LIKELY] = [3, 0.69];

export interface Character {
  label: string;
  confidence: number;
  /** Its ink, in pixels of the picture. */
  box: Frame;
}

export interface Reading {
  /** Empty where the line holds no digit, or looks like no number. */
  text: string;
  /** What looks like no number, as a line of letters: the likeliest text, and its probability per digit. */
  unlikely: { text: string; each: number } | null;
  confidence: number;
  characters: Character[];
  answers: LineAnswers;
}

export class LineReader {
  private constructor(private readonly session: InferenceSession) {}

  static async load(): Promise<LineReader> {
    return new LineReader(await loadSession(numbersUrl));
  }

  async read(strip: Strip): Promise<Reading> {
    const [answers] = await this.logProbabilities([strip.pixels]);
    const { classes, logProbability } = await this.likeliest(answers, strip.pixels);
    const characters = charactersOf(answers, classes, strip);
    const text = classes.join("");
    const each = Math.exp(logProbability / Math.max(1, text.length));
    const unlikely = text.length >= MANY && each < LIKELY ? { text, each } : null;
    const confidence = text ? Math.exp(logProbability) : 0;
    return { text: unlikely ? "" : text, unlikely, confidence, characters, answers };
  }

  /**
   * Along lines of one width, one answer every 2 px; a multiple of 4 px, and 2 px for the last window, which may end
   * beyond the line.
   */
  private async logProbabilities(lines: Grid[]): Promise<LineAnswers[]> {
    const taken = lines[0].width;
    const width = Math.ceil(Math.max(taken, HEIGHT) / 4) * 4 + 2;
    const padded = new Uint8Array(lines.length * HEIGHT * width);
    lines.forEach(({ data }, n) => {
      for (let y = 0; y < HEIGHT; y++) padded.set(data.subarray(y * taken, (y + 1) * taken), (n * HEIGHT + y) * width);
    });
    return this.answers(padded, lines.length, width);
  }

  /** The network's answers along `count` pictures of one width. */
  private async answers(pixels: Uint8Array, count: number, width: number): Promise<LineAnswers[]> {
    const result = await this.session.run({ pixels: pixelsOf(pixels, [count, 1, HEIGHT, width]) }, ["logits"]);
    const { data: logits, dims } = result.logits; // count × classes × 1 × positions
    const [, classes, , length] = dims;
    return Array.from({ length: count }, (_, n) => {
      const answers = { data: new Float64Array(length * classes), length, classes };
      for (let t = 0; t < length; t++) {
        const at = (k: number) => (logits as Float32Array)[(n * classes + k) * length + t] / facts.temperature;
        let most = -Infinity;
        for (let k = 0; k < classes; k++) most = Math.max(most, at(k));
        let total = 0;
        for (let k = 0; k < classes; k++) total += Math.exp(at(k) - most);
        for (let k = 0; k < classes; k++) answers.data[t * classes + k] = at(k) - most - Math.log(total);
      }
      return answers;
    });
  }

  /** The logarithms of the mean probabilities that the classes of single characters have in their place and in `ROWS`. */
  private async looks(pictures: Uint8Array[]): Promise<number[][]> {
    if (!pictures.length) return [];
    const size = HEIGHT * HEIGHT;
    const count = 1 + ROWS.length;
    const joined = new Uint8Array(count * pictures.length * size);
    pictures.forEach((data, i) => {
      const picture = { data, width: HEIGHT, height: HEIGHT };
      [picture, ...ROWS.map((row) => moved(picture, row, 0))].forEach((look, place) => {
        joined.set(look.data, (i * count + place) * size);
      });
    });
    const seen = await this.answers(joined, count * pictures.length, HEIGHT);
    return pictures.map((_, i) => {
      const places = seen.slice(i * count, (i + 1) * count);
      return Array.from(places[0].data, (_, k) => logSum(places.map(({ data }) => data[k])) - Math.log(count));
    });
  }

  /** The likeliest texts in the mean of all widths and rows, best first, without those that are too long. */
  private async texts(answers: LineAnswers, pixels: Grid): Promise<Path[]> {
    const found = beamSearch(answers).slice(0, TEXTS);
    const inRows = (line: Grid) => ROWS.map((row) => moved(line, row, 0));
    const others = await this.logProbabilities(inRows(pixels));
    for (const [more, less] of WIDTHS) {
      const line = resampled(pixels, HEIGHT, Math.max(HEIGHT, nearest(pixels.width * more, less)));
      others.push(...(await this.logProbabilities([line, ...inRows(line)])));
    }
    const known = new Set(found.map(({ classes }) => classes.join()));
    for (const { classes } of others.flatMap((other) => beamSearch(other).slice(0, MORE))) {
      if (known.has(classes.join())) continue;
      known.add(classes.join());
      found.push({ classes, logProbability: logProbability(answers, classes) });
    }
    return found
      .filter((path) => path.logProbability > -Infinity)
      .map(({ classes, logProbability: own }) => {
        const all = [own, ...others.map((other) => logProbability(other, classes))];
        return { classes, logProbability: logSum(all) - Math.log(all.length) };
      })
      .sort((a, b) => b.logProbability - a.logProbability)
      .slice(0, TEXTS);
  }

  /** The likeliest text: lenet_zoo/classify/second_look.py in TypeScript, whose docstring says how. */
  private async likeliest(answers: LineAnswers, pixels: Grid): Promise<Path> {
    const text = bestPath(answers);
    const found = { classes: text, logProbability: logProbability(answers, text) };
    if (found.logProbability > Math.log(CERTAIN)) return { ...found, logProbability: CAUTION * found.logProbability };
    const texts = await this.texts(answers, pixels);
    if (texts.length < 2) return texts[0];
    const placed = texts.map(({ classes }) => ({ classes, middles: middlesOf(answers, classes) }));
    const { pictures, which } = charactersOfTexts(pixels, placed);
    const looks = await this.looks(pictures);
    const scores = texts.map(({ classes, logProbability }, i) => {
      const seen = classes.map((label, j) => (which[i][j] < 0 ? 0 : looks[which[i][j]][label]));
      return (logProbability + WEIGHT * sum(seen)) / (1 + WEIGHT);
    });
    const best = scores.indexOf(Math.max(...scores));
    const share = scores[best] - logSum(scores) + logSum(texts.map(({ logProbability }) => logProbability));
    return { classes: texts[best].classes, logProbability: Math.min(Math.log(SUREST), share) };
  }
}

/** log Σ exp. */
function logSum(values: number[]): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** The column of the line in the middle of each character of a text. */
function middlesOf(answers: LineAnswers, classes: number[]): number[] {
  return spans(answers, classes).map(([first, last]) => FIRST + (STEP * (first + last)) / 2);
}

function charactersOf(answers: LineAnswers, classes: number[], strip: Strip): Character[] {
  const places = spans(answers, classes);
  const middles = middlesOf(answers, classes);
  return classes.map((label, i) => {
    // A digit reaches half-way to its neighbours, and no further than its window.
    const left = Math.max(middles[i] - FIRST, i ? (middles[i - 1] + middles[i]) / 2 : 0);
    const right = Math.min(middles[i] + FIRST, i + 1 < middles.length ? (middles[i] + middles[i + 1]) / 2 : Infinity);
    let most = -Infinity;
    for (let t = places[i][0]; t <= places[i][1]; t++) most = Math.max(most, answers.data[t * answers.classes + label]);
    return { label: String(label), confidence: Math.exp(most), box: boxIn(strip, left, right) };
  });
}
