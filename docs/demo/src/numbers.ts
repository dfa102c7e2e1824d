// The page's other half: a wide pad on which one network reads a number, and its answers along the line. It is loaded when
// it is asked for.

import { PixelCanvas, type Palette } from "./colours";
import { bestOfEach } from "./decoding";
import { $, element, setText } from "./elements";
import { latest } from "./latest";
import { FIRST, LineReader, STEP, type Reading } from "./lineReader";
import facts from "./numbers.json";
import { Pad, type Points } from "./pad";
import type { Grid } from "./pictures/kernels";
import { aroundDrawing, linesFromDrawing } from "./pictures/line";
import type { LinePicture } from "./pictures/reading";
import { attempt } from "./pictures/refusals";
import { HEIGHT, type Frame, type Strip } from "./pictures/strip";
import samples from "./samples.json";
import { language, sentence, texts, wordsOf } from "./texts";
import { percent } from "./verdict";

/** What the event `number` on the document carries, for tests and for the curious. */
export interface NumberDetail {
  /** Line by line, empty where there is none; "none" is the last of the answers' classes. */
  lines: (Reading & { pixels: Grid })[];
  reason: string;
  /** From the event that caused it until the answer stood on the page, in ms. */
  latency: number;
}

/** What the pad opens with: the year of the paper. */
const OPENING = [1, 9, 9, 8];
/** Pixels of the page for one of the strip, where there is room. */
const ZOOM = 5;

/** Whether the page reads digits again. What was asked for before is told to nobody then: `open` asks anew. */
const away = () => document.body.dataset.mode !== "number";

interface Found {
  strips: Strip[] | null;
  reason: string;
}

export class NumberDesk {
  readonly pad = new Pad<LinePicture>($<HTMLCanvasElement>("line-pad"), true);
  private reader: LineReader | null = null;
  private failed = "";
  private shown: { lines: (Reading & { pixels: Grid })[]; reason: string; empty: boolean } = {
    lines: [],
    reason: "",
    empty: true,
  };
  private readonly answer = latest((since) => this.read(since).catch(this.stopped));

  constructor(
    private readonly palette: () => Palette,
    private readonly say: (text: string) => void,
    private readonly announce: (text: string) => void,
    private readonly stopped: (error: unknown) => void,
    private readonly changed: () => void,
  ) {
    this.pad.onchange = (since) => void this.answer(since);
  }

  /** Shows the desk; the first time with a number on it. */
  async open(): Promise<void> {
    this.pad.resize();
    if (!this.pad.canUndo) this.pad.write(this.opening(), 0);
    this.paint();
    try {
      this.reader ??= await LineReader.load();
      this.failed = "";
    } catch (error) {
      this.failed = wordsOf(error);
      return this.paint();
    }
    await this.answer(performance.now());
  }

  private opening(): Points[] {
    const step = Math.min(0.62, (this.pad.ratio - 0.2) / OPENING.length);
    const start = (this.pad.ratio - step * OPENING.length) / 2;
    return OPENING.flatMap((digit, i) =>
      samples[digit].strokes.map((stroke) =>
        stroke.map(([x, y]): [number, number] => [start + step * (i + x), 0.5 + step * (y - 0.5)]),
      ),
    );
  }

  private find(): Found {
    if (this.pad.empty) return { strips: null, reason: "" };
    if (this.pad.picture) return this.pad.picture;
    const [strips, reason] = attempt(() => linesFromDrawing(this.pad.grey()));
    return { strips, reason };
  }

  private async read(since: number): Promise<void> {
    if (away()) return;
    if (!this.reader) {
      this.say("");
      return this.paint();
    }
    const { strips, reason } = this.find();
    const lines = [];
    for (const strip of strips ?? []) lines.push({ ...(await this.reader.read(strip)), pixels: strip.pixels });
    if (away()) return;
    this.say("");
    const written = lines.filter(({ text }) => text);
    const why = !lines.length || written.length ? reason : "no number: the line holds no digit";
    this.shown = { lines, reason: why, empty: this.pad.empty };
    this.paint();
    document.body.dataset.state = written.length ? "number" : "empty";
    const { numbers } = texts;
    this.announce(written.length ? `${numbers.answer}: ${this.text()}, ${this.sureness()}` : this.why());
    const detail: NumberDetail = { lines, reason: why, latency: performance.now() - since };
    document.dispatchEvent(new CustomEvent("number", { detail }));
  }

  private text(): string {
    return this.shown.lines
      .map(({ text }) => text)
      .filter(Boolean)
      .join("\n");
  }

  private sureness(): string {
    const read = this.shown.lines.filter(({ text }) => text);
    return texts.numbers.sure(percent(read.reduce((product, { confidence }) => product * confidence, 1)));
  }

  private why(): string {
    const unlikely = this.shown.lines.find((line) => line.unlikely)?.unlikely;
    if (unlikely) return texts.numbers.unlikely(unlikely.text, percent(unlikely.each));
    return this.shown.empty ? texts.numbers.empty : sentence(this.shown.reason);
  }

  /** Everything as it is now, in the page's colours and language. */
  paint(): void {
    const { numbers } = texts;
    $("line-hint").hidden = !this.pad.empty;
    this.changed();
    const text = this.text();
    setText($("number"), text || numbers.none);
    const waiting = this.failed ? texts.said.notLoadedBecause(this.failed) : numbers.loading;
    setText($("number-sentence"), !this.reader ? waiting : text ? this.sureness() : this.why());
    const parameters = numbers.facts(facts.parameters.toLocaleString(language));
    $("number-facts").replaceChildren(element("code", {}, facts.name), ` · ${parameters}`);
    $("lines").replaceChildren(...this.shown.lines.map((line) => this.figure(line)));
    $("frames").replaceChildren(...this.shown.lines.flatMap(({ characters }) => characters.map(this.frame)));
  }

  /** One line: the strip, and under it what the network answers along it. */
  private figure({ pixels, answers, characters }: Reading & { pixels: Grid }): HTMLElement {
    const { numbers } = texts;
    const { width } = pixels;
    const share = (columns: number) => `${(100 * columns) / width}%`;
    const strip = element("canvas", { role: "img", "aria-label": numbers.stripLabel });
    new PixelCanvas(strip, width, HEIGHT).draw(this.palette(), pixels.data, 0, 255);

    // Answer t is to the window whose middle is column FIRST + STEP · t.
    const { length, classes } = answers;
    const outputs = element("canvas", { role: "img", "aria-label": numbers.outputsLabel });
    const turned = new Float32Array(length * classes);
    for (let t = 0; t < length; t++) {
      for (let k = 0; k < classes; k++) turned[k * length + t] = Math.exp(answers.data[t * classes + k]);
    }
    new PixelCanvas(outputs, length, classes).draw(this.palette(), turned, 0, 1);
    Object.assign(outputs.style, { left: share(FIRST - STEP / 2), width: share(STEP * length) });

    const best = element("div", { class: "line-best", "aria-label": numbers.best, role: "img" });
    for (const { label, first, last } of runsOf(bestOfEach(answers))) {
      if (label === classes - 1) continue;
      const mark = element("span", {}, String(label));
      mark.style.left = share(FIRST + (STEP * (first + last)) / 2);
      best.append(mark);
    }
    const labels = Array.from({ length: classes }, (_, k) => element("span", {}, k < classes - 1 ? String(k) : "–"));
    const along = element(
      "div",
      { class: "line-along" },
      strip,
      best,
      element("div", { class: "line-outputs" }, outputs),
    );
    along.style.width = `${width * ZOOM}px`;
    const figure = element(
      "figure",
      { class: "line" },
      element("div", { class: "line-classes", "aria-hidden": "true" }, ...labels),
      along,
    );
    figure.dataset.text = characters.map(({ label }) => label).join("");
    return figure;
  }

  /** A read digit's box on the pad. */
  private readonly frame = ({ label, box }: { label: string; box: Frame }): HTMLElement => {
    const { picture, ratio } = this.pad;
    // In heights of the pad: a drawing has paper around it, a picture stands in the middle.
    let [scale, across, down] = [0, 0, 0];
    if (picture) {
      scale = Math.min(1 / picture.height, ratio / picture.width);
      [across, down] = [(ratio - picture.width * scale) / 2, (1 - picture.height * scale) / 2];
    } else {
      const drawing = this.pad.grey();
      scale = 1 / drawing.height;
      across = down = -aroundDrawing(drawing) * scale;
    }
    const [left, top, right, bottom] = box;
    const node = element("span", { class: "frame" }, element("b", {}, label));
    Object.assign(node.style, {
      left: `${(100 * (across + left * scale)) / ratio}%`,
      top: `${100 * (down + top * scale)}%`,
      width: `${(100 * (right - left) * scale) / ratio}%`,
      height: `${100 * (bottom - top) * scale}%`,
    });
    return node;
  };
}

/** Equal neighbours as one. */
function runsOf(labels: number[]): { label: number; first: number; last: number }[] {
  const runs: { label: number; first: number; last: number }[] = [];
  labels.forEach((label, t) => {
    const run = runs[runs.length - 1];
    if (run?.label === label) run.last = t;
    else runs.push({ label, first: t, last: t });
  });
  return runs;
}
