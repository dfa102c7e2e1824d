// What the page shows of the networks: answers, bars, and each layer's state, in one column per network.

import { PixelCanvas, type Palette } from "./colours";
import { architectureOf, LAYERS, type Answer, type Description, type Layer, type LayerName } from "./network";
import { percent, reasonOf, type Verdict } from "./verdict";

const TITLES: Record<string, [title: string, year: string]> = {
  lenet5_classic: ["LeNet-5", "1998"],
  lenet5_modern: ["LeNet-5", "modern"],
};
const BITMAP = [7, 12] as const;

type Child = Node | string;

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export class NetworkView {
  readonly title: string;
  private readonly big = element("span", { class: "big" }, "–");
  private readonly sentence = element("span", { class: "sentence" });
  private readonly bars: { row: HTMLElement; bar: HTMLElement; value: HTMLElement }[] = [];
  private readonly layers: LayerView[];
  private readonly head: HTMLElement;

  constructor(readonly description: Description) {
    const [title, year] = TITLES[architectureOf(description)];
    this.title = `${title}, ${year}`;
    const list = element("ol", { class: "bars", start: "0", "aria-label": `Probabilities, ${this.title}` });
    for (let i = 0; i < 10; i++) {
      const bar = element("span", { class: "bar", "aria-hidden": "true" });
      const value = element("span", { class: "value" }, "");
      const row = element("li", {}, element("span", { class: "class" }, String(i)), bar, value);
      list.append(row);
      this.bars.push({ row, bar, value });
    }
    const facts = `${description.parameters.toLocaleString("en")} parameters · ${((100 * description.correct) / description.total).toFixed(2)} % on MNIST`;
    this.head = element(
      "header",
      { class: "head" },
      element("h2", {}, title, " ", element("small", {}, year)),
      element("p", { class: "facts" }, facts),
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
    return [this.head, ...this.layers.map((layer) => layer.figure)];
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
  }
}

/** The maps of one layer, or its units as one picture. */
class LayerView {
  readonly figure: HTMLElement;
  protected readonly scale = element("span", { class: "scale" });
  protected readonly maps: PixelCanvas[] = [];
  protected readonly size: number;
  private readonly squash: boolean;

  constructor(
    readonly layer: Layer,
    description: Description,
  ) {
    const [count, height = 1, width = 1] = layer.output;
    const flat = height * width === 1;
    const name = layer.name as LayerName;
    const shape = flat ? (name === "C5" ? [24, 5] : [12, 7]) : [width, height];
    this.squash = architectureOf(description) === "lenet5_classic";
    this.size = shape[0] * shape[1];
    const grid = element("div", {
      class: `maps maps-${flat ? "flat" : count}`,
      role: "img",
      "aria-label": `${name}: ${flat ? `${count} units` : `${count} maps of ${height} × ${width}`}, ${layer.kind}`,
    });
    for (let i = 0; i < (flat ? 1 : count); i++) {
      const canvas = element("canvas", { "aria-hidden": "true" });
      this.maps.push(new PixelCanvas(canvas, shape[0], shape[1]));
      grid.append(canvas);
    }
    const parameters = layer.parameters ? ` · ${layer.parameters.toLocaleString("en")} parameters` : "";
    const caption = element("figcaption", {}, `${layer.kind}${parameters} `, this.scale);
    this.figure = element("figure", { class: `layer layer-${name}` }, grid, caption);
  }

  show(values: Float32Array, _logits: Float32Array, palette: Palette): void {
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
    const canvas = element("canvas", {
      role: "img",
      "aria-label": "F6: the state of its 84 units as a bitmap, 7 × 12",
    });
    this.state = new PixelCanvas(canvas, ...BITMAP);
    const list = element("ol", {
      class: "targets",
      start: "0",
      "aria-label": "Distance of F6 from each digit’s bitmap",
    });
    description.bitmaps!.forEach((bits, i) => {
      const target = element("canvas", { "aria-hidden": "true" });
      const distance = element("span", { class: "distance" }, "");
      const cell = element("li", {}, target, element("span", { class: "unseen" }, `${i}: `), distance);
      list.append(cell);
      const values = Float32Array.from(bits, (bit) => (bit === "1" ? 1 : 0));
      this.targets.push({ cell, distance, map: new PixelCanvas(target, ...BITMAP), values });
    });
    this.figure.querySelector(".maps")!.replaceWith(element("div", { class: "bitmaps" }, canvas, list));
  }

  override show(values: Float32Array, logits: Float32Array, palette: Palette): void {
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
    setText(this.scale, "the nearest bitmap wins");
  }

  override showNothing(palette: Palette): void {
    this.state.draw(palette, new Float32Array(84), 0, 1);
    for (const { cell, distance, map, values } of this.targets) {
      map.draw(palette, values, 0, 1);
      cell.classList.remove("best");
      setText(distance, "");
    }
    setText(this.scale, "");
  }
}

/** One column per network, one row per layer, and a heading over each row. */
export function networkTable(views: NetworkView[]): HTMLElement[] {
  const columns = views.map((view) => view.cells());
  const rows: HTMLElement[] = [element("div", { class: "row heads" }, ...columns.map((cells) => cells[0]))];
  LAYERS.forEach((name, i) => {
    const [count, height = 1, width = 1] = views[0].description.layers.find((layer) => layer.name === name)!.output;
    const shape = height * width > 1 ? `${count} maps of ${height} × ${width}` : `${count} units`;
    const heading = element("h3", {}, name, " ", element("small", {}, shape));
    rows.push(element("section", { class: "row" }, heading, ...columns.map((cells) => cells[i + 1])));
  });
  return rows;
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
