// What the page shows of the networks: answers, bars, and each layer's state, in one column per network.

import { PixelCanvas, type Palette } from "./colours";
import { element, setText } from "./elements";
import { architectureOf, LAYERS, type Answer, type Description, type Layer, type LayerName } from "./network";
import { SQUARE, type Occlusion } from "./occlusion";
import { language, texts } from "./texts";
import { shownAs } from "./units";
import { percent, reasonOf, type Verdict } from "./verdict";

const BITMAP = [7, 12] as const;
/** Pixels of the input. */
const SIDE = 28;

export class NetworkView {
  readonly title: string;
  private readonly big = element("span", { class: "big" }, "–");
  private readonly sentence = element("span", { class: "sentence" });
  private readonly bars: { row: HTMLElement; bar: HTMLElement; value: HTMLElement }[] = [];
  readonly layers: LayerView[];
  readonly changes: ChangesView;
  private readonly head: HTMLElement;

  constructor(readonly description: Description) {
    const words = texts.networks;
    const [title, year] = titleOf(description);
    this.title = `${title}, ${year}`;
    this.changes = new ChangesView(this.title);
    const list = element("ol", { class: "bars", start: "0", "aria-label": words.probabilities(this.title) });
    for (let i = 0; i < 10; i++) {
      const bar = element("span", { class: "bar", "aria-hidden": "true" });
      const value = element("span", { class: "value" }, "");
      const row = element("li", {}, element("span", { class: "class" }, String(i)), bar, value);
      list.append(row);
      this.bars.push({ row, bar, value });
    }
    const accuracy = ((100 * description.correct) / description.total).toFixed(2);
    const facts = words.facts(description.parameters.toLocaleString(language), accuracy);
    this.head = element(
      "header",
      { class: "head" },
      element("h2", {}, title, " ", element("small", {}, year)),
      element("p", { class: "facts" }, element("code", {}, description.name), " · ", facts),
      element("p", { class: "answer" }, this.big, this.sentence),
      list,
    );
    this.layers = LAYERS.map((name) => {
      const layer = description.layers.find((each) => each.name === name)!;
      return name === "F6" && description.bitmaps
        ? new BitmapView(layer, description)
        : new LayerView(layer, description);
    });
  }

  /** This network's cells, in the order of reading. */
  cells(): HTMLElement[] {
    return [this.head, this.changes.figure, ...this.layers.map((layer) => layer.figure)];
  }

  show(answer: Answer, said: Verdict, palette: Palette): void {
    const { probabilities, logits, layers } = answer;
    this.head.classList.toggle("silent", said.label === null);
    setText(this.big, said.label === null ? "?" : String(said.label));
    setText(this.sentence, reasonOf(said));
    this.bars.forEach(({ row, bar, value }, i) => {
      row.classList.toggle("best", i === said.best);
      bar.style.setProperty("--share", probabilities[i].toFixed(4));
      setText(value, percent(probabilities[i]));
    });
    LAYERS.forEach((name, i) => this.layers[i].show(layers[name], logits, palette));
  }

  /** No answer; `why` stands in its place. */
  showNothing(palette: Palette, why: string): void {
    this.head.classList.add("silent");
    setText(this.big, "–");
    setText(this.sentence, why);
    for (const { row, bar, value } of this.bars) {
      row.classList.remove("best");
      bar.style.setProperty("--share", "0");
      setText(value, "");
    }
    for (const layer of this.layers) layer.showNothing(palette);
    this.changes.showNothing(palette);
  }
}

function titleOf(description: Description): [string, string] {
  const { classic, modern } = texts.networks;
  return ["LeNet-5", architectureOf(description) === "lenet5_classic" ? classic : modern];
}

/** What erasing squares of the input does to one network's answer. */
class ChangesView {
  private readonly sentence = element("span", {}, "");
  private readonly frame = element("span", { class: "field-frame", hidden: "" });
  readonly figure: HTMLElement;
  private readonly map: PixelCanvas;

  constructor(title: string) {
    const canvas = element("canvas", { role: "img", "aria-label": texts.networks.changesLabel(title) });
    this.map = new PixelCanvas(canvas, SIDE, SIDE);
    const field = element("div", { class: "field" }, canvas, this.frame);
    this.figure = element("figure", { class: "changes" }, field, element("figcaption", {}, this.sentence));
  }

  show({ falls, change }: Occlusion, palette: Palette): void {
    this.map.draw(palette, falls, 0, 1);
    const { noChange, change: changed, none } = texts.networks;
    setText(this.sentence, change ? changed(change.label === null ? none : String(change.label)) : noChange);
    this.frame.hidden = !change;
    if (!change) return;
    const share = (pixels: number) => `${(100 * pixels) / SIDE}%`;
    const [top, left] = [change.row, change.column].map((middle) => Math.max(0, middle - (SQUARE >> 1)));
    const [bottom, right] = [change.row, change.column].map((middle) => Math.min(SIDE, middle + (SQUARE >> 1) + 1));
    Object.assign(this.frame.style, {
      top: share(top),
      left: share(left),
      height: share(bottom - top),
      width: share(right - left),
    });
  }

  /** Nothing yet, or nothing at all. */
  showNothing(palette: Palette): void {
    this.map.draw(palette, new Float32Array(SIDE * SIDE), 0, 1);
    setText(this.sentence, "");
    this.frame.hidden = true;
  }
}

/** The maps of one layer, or its units as one picture. */
export class LayerView {
  readonly figure: HTMLElement;
  readonly name: LayerName;
  /** Single units, not maps. */
  readonly flat: boolean;
  /** Rows and columns of each canvas, one for each unit. */
  readonly shape: [number, number];
  /** What holds the canvases, and takes the keyboard's focus. */
  units: HTMLElement;
  protected readonly scale = element("span", { class: "scale" });
  protected readonly maps: PixelCanvas[] = [];
  protected readonly size: number;
  protected values: Float32Array | null = null;
  private readonly squash: boolean;

  constructor(
    readonly layer: Layer,
    description: Description,
  ) {
    const [count, height = 1, width = 1] = layer.output;
    const words = texts.networks;
    this.flat = height * width === 1;
    this.name = layer.name as LayerName;
    this.shape = shownAs(layer, this.name === "F6" && Boolean(description.bitmaps));
    this.squash = architectureOf(description) === "lenet5_classic";
    this.size = this.shape[0] * this.shape[1];
    const kind = words.kinds[layer.kind] ?? layer.kind;
    const what = this.flat ? words.units(count) : words.maps(count, height, width);
    this.units = unitsElement(`maps maps-${this.flat ? "flat" : count}`, `${this.name}: ${what}, ${kind}`, description);
    for (let i = 0; i < (this.flat ? 1 : count); i++) {
      const canvas = element("canvas", { "aria-hidden": "true" });
      this.maps.push(new PixelCanvas(canvas, this.shape[1], this.shape[0]));
      this.units.append(canvas);
    }
    const parameters = layer.parameters ? ` · ${words.parameters(layer.parameters.toLocaleString(language))}` : "";
    const caption = element("figcaption", {}, `${kind}${parameters} `, this.scale);
    this.figure = element("figure", { class: `layer layer-${this.name}` }, this.units, caption);
  }

  get canvases(): HTMLCanvasElement[] {
    return this.maps.map(({ canvas }) => canvas);
  }

  /** The state of one unit; null before there is an answer. */
  valueAt(map: number, row: number, column: number): number | null {
    return this.values && this.values[map * this.size + row * this.shape[1] + column];
  }

  show(values: Float32Array, _logits: Float32Array, palette: Palette): void {
    this.values = values;
    // The squashing function ends at ±1.7159; ReLU has no end, and its maps are scaled to their largest value.
    let limit = 1.7159;
    if (!this.squash) {
      limit = 1e-6;
      for (const value of values) if (value > limit) limit = value;
    }
    setText(this.scale, this.squash ? "−1.7 … 1.7" : `0 … ${limit.toFixed(1)}`);
    this.maps.forEach((map, i) => map.draw(palette, values, i * this.size, limit));
  }

  showNothing(palette: Palette): void {
    this.values = null;
    setText(this.scale, "");
    const zeros = new Float32Array(this.size);
    for (const map of this.maps) map.draw(palette, zeros, 0, 1);
  }
}

/** The classic's F6: its 84 units as the 7×12 bitmap that they are, beside the bitmaps that they are to become. */
class BitmapView extends LayerView {
  private readonly targets: { cell: HTMLElement; distance: HTMLElement; map: PixelCanvas; values: Float32Array }[] = [];
  private readonly state: PixelCanvas;

  constructor(layer: Layer, description: Description) {
    super(layer, description);
    const canvas = element("canvas", { "aria-hidden": "true" });
    this.state = new PixelCanvas(canvas, ...BITMAP);
    const grid = this.units;
    this.units = unitsElement("state", texts.networks.bitmap, description);
    this.units.append(canvas);
    const list = element("ol", { class: "targets", start: "0", "aria-label": texts.networks.bitmapDistances });
    description.bitmaps!.forEach((bits, i) => {
      const target = element("canvas", { "aria-hidden": "true" });
      const distance = element("span", { class: "distance" }, "");
      const cell = element("li", {}, target, element("span", { class: "unseen" }, `${i}: `), distance);
      list.append(cell);
      const values = Float32Array.from(bits, (bit) => (bit === "1" ? 1 : 0));
      this.targets.push({ cell, distance, map: new PixelCanvas(target, ...BITMAP), values });
    });
    grid.replaceWith(element("div", { class: "bitmaps" }, this.units, list));
  }

  override get canvases(): HTMLCanvasElement[] {
    return [this.state.canvas];
  }

  override show(values: Float32Array, logits: Float32Array, palette: Palette): void {
    this.values = values;
    // Paper is −1 and ink +1, in the state as in the targets.
    this.state.draw(
      palette,
      values.map((value) => Math.max(0, Math.min(1, (value + 1) / 2))),
      0,
      1,
    );
    let nearest = 0;
    logits.forEach((logit, i) => (nearest = logit > logits[nearest] ? i : nearest));
    this.targets.forEach(({ cell, distance, map, values: target }, i) => {
      map.draw(palette, target, 0, 1);
      cell.classList.toggle("best", i === nearest);
      setText(distance, (-logits[i]).toFixed(-logits[i] < 9.95 ? 1 : 0));
    });
    setText(this.scale, texts.networks.nearest);
  }

  override showNothing(palette: Palette): void {
    this.values = null;
    this.state.draw(palette, new Float32Array(84), 0, 1);
    for (const { cell, distance, map, values } of this.targets) {
      map.draw(palette, values, 0, 1);
      cell.classList.remove("best");
      setText(distance, "");
    }
    setText(this.scale, "");
  }
}

/** The layer's canvases, as one thing for the keyboard and for screen readers, which do not see the network's column. */
function unitsElement(kind: string, label: string, description: Description): HTMLElement {
  const attributes = { class: `units ${kind}`, role: "application", tabindex: "0" };
  const said = [label, titleOf(description).join(", "), texts.unit.choose].join(". ");
  return element("div", { ...attributes, "aria-label": said });
}

/** One column per network, one row per layer, and a heading and a sentence over each row. */
export function networkTable(views: NetworkView[]): HTMLElement[] {
  const columns = views.map((view) => view.cells());
  const words = texts.networks;
  const row = (i: number, heading: HTMLElement, text: string) => {
    const note = element("p", { class: "note" });
    note.innerHTML = text;
    return element("section", { class: "row" }, heading, note, ...columns.map((cells) => cells[i]));
  };
  const rows: HTMLElement[] = [element("div", { class: "row heads" }, ...columns.map((cells) => cells[0]))];
  const { changes, changesText, units } = texts.page;
  rows.push(row(1, element("h3", {}, changes), changesText), element("p", { class: "note" }, units));
  LAYERS.forEach((name, i) => {
    const [count, height = 1, width = 1] = views[0].description.layers.find((layer) => layer.name === name)!.output;
    const shape = height * width > 1 ? words.maps(count, height, width) : words.units(count);
    rows.push(row(i + 2, element("h3", {}, name, " ", element("small", {}, shape)), words.layers[name]));
  });
  return rows;
}
