// From the answers along a line to its text: lenet_zoo/classify/decoding.py in TypeScript, whose docstring says how. Best
// path, beam search, how probable a text is, exactly, and where its classes stand.

/** Logarithms of probabilities, T × `classes`, row by row: one row per position, "none" last. */
export interface LineAnswers {
  data: Float64Array;
  length: number;
  classes: number;
}

/** A text as a sequence of classes, and the logarithm of its probability. */
export interface Path {
  classes: number[];
  logProbability: number;
}

/** What a position has to give a class for the beam to follow it: one in ten thousand. */
const FLOOR = Math.log(1e-4);

/** The likeliest class of each position. */
export function bestOfEach({ data, length, classes }: LineAnswers): number[] {
  return Array.from({ length }, (_, t) => {
    let best = 0;
    for (let k = 1; k < classes; k++) if (data[t * classes + k] > data[t * classes + best]) best = k;
    return best;
  });
}

/** The text of the likeliest answer at each position. */
export function bestPath(answers: LineAnswers): number[] {
  const none = answers.classes - 1;
  return bestOfEach(answers).filter((label, t, all) => label !== all[t - 1] && label !== none);
}

/** The logarithm of a text's probability: the sum over all its paths, by the forward recursion. */
export function logProbability({ data, length, classes }: LineAnswers, text: number[]): number {
  const states = statesOf(text, classes - 1);
  let score = states.map((_, s) => (s === 0 ? 0 : -Infinity)); // before the first position
  for (let t = 0; t < length; t++) {
    score = states.map((label, s) => {
      let from = score[s];
      if (s > 0 && (t > 0 || s === 1)) from = add(from, score[s - 1]);
      if (s > 1 && t > 0 && label !== classes - 1 && label !== states[s - 2]) from = add(from, score[s - 2]);
      return from + data[t * classes + label];
    });
  }
  const last = score.length - 1;
  return last ? add(score[last], score[last - 1]) : score[0];
}

/** The likeliest texts, best first, each with its exact probability; `width` of them are followed along the line. */
export function beamSearch(answers: LineAnswers, width = 16): Path[] {
  const { data, length, classes } = answers;
  const none = classes - 1;
  interface Beam {
    text: number[];
    /** Logarithms of the paths that end in "none", and in the text's last class. */
    blank: number;
    digit: number;
  }
  let beams: Beam[] = [{ text: [], blank: 0, digit: -Infinity }];
  for (let t = 0; t < length; t++) {
    const row = data.subarray(t * classes, (t + 1) * classes);
    const following = new Map<string, Beam>();
    const put = (text: number[], blank: number, digit: number) => {
      const key = text.join();
      const old = following.get(key);
      if (!old) following.set(key, { text, blank, digit });
      else [old.blank, old.digit] = [add(old.blank, blank), add(old.digit, digit)];
    };
    for (const { text, blank, digit } of beams) {
      const both = add(blank, digit);
      const last = text.length ? text[text.length - 1] : none;
      put(text, both + row[none], text.length ? digit + row[last] : -Infinity);
      for (let label = 0; label < none; label++) {
        if (row[label] > FLOOR) put([...text, label], -Infinity, (label === last ? blank : both) + row[label]);
      }
    }
    const score = ({ blank, digit }: Beam) => add(blank, digit);
    beams = [...following.values()];
    if (beams.length > width) beams = beams.sort((a, b) => score(b) - score(a)).slice(0, width);
  }
  return beams
    .map(({ text }) => ({ classes: text, logProbability: logProbability(answers, text) }))
    .sort((a, b) => b.logProbability - a.logProbability);
}

/** Where each class of a text stands on its likeliest path: the first position and the last (Viterbi). */
export function spans({ data, length, classes }: LineAnswers, text: number[]): [first: number, last: number][] {
  const states = statesOf(text, classes - 1);
  const own = (t: number, s: number) => data[t * classes + states[s]];
  let score = states.map((_, s) => (s < 2 ? own(0, s) : -Infinity));
  const back: number[][] = [states.map(() => 0)];
  for (let t = 1; t < length; t++) {
    const from: number[] = [];
    score = states.map((_, s) => {
      const skips = s > 2 && s % 2 === 1 && states[s] !== states[s - 2];
      const choices = [score[s], s > 0 ? score[s - 1] : -Infinity, skips ? score[s - 2] : -Infinity];
      const best = choices.indexOf(Math.max(...choices));
      from.push(best);
      return choices[best] + own(t, s);
    });
    back.push(from);
  }
  const end = states.length - 1;
  let state = !end || score[end] >= score[end - 1] ? end : end - 1;
  const found = text.map((): [number, number] => [-1, -1]);
  for (let t = length - 1; t >= 0; t--) {
    if (state % 2) {
      const place = found[state >> 1];
      place[0] = t;
      place[1] = Math.max(place[1], t);
    }
    state -= back[t][state];
  }
  return found;
}

/** "none", and around it and after each class again. */
function statesOf(text: number[], none: number): number[] {
  return [none, ...text.flatMap((label) => [label, none])];
}

/** log(exp(one) + exp(other)). */
function add(one: number, other: number): number {
  const [more, less] = one < other ? [other, one] : [one, other];
  return less === -Infinity ? more : more + Math.log1p(Math.exp(less - more));
}
