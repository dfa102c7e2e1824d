// A card beside the unit that is pointed at, tapped or gone to by keyboard: what it sees of the input, and its weights.

import { PixelCanvas, type Palette } from "./colours";
import { element } from "./elements";
import type { Kernels, LayerName } from "./network";
import { texts } from "./texts";
import { BEFORE, fieldOf, kernelsOf, placeOf, type Place } from "./units";
import type { LayerView } from "./view";

/** The input with the padding around it. */
const FIELD = 32;
const PADDING = 2;
const GAP = 8;

export interface Shown {
  pixels: Uint8Array | null;
  palette: Palette;
}

type KernelsOf = (view: LayerView) => Partial<Record<LayerName, Kernels>>;

export class Inspector {
  private readonly field = element("canvas", { "aria-hidden": "true" });
  private readonly frame = element("span", { class: "field-frame" });
  private readonly title = element("p", { class: "unit" });
  private readonly facts = element("p", {});
  private readonly weights = element("div", { class: "kernels", "aria-hidden": "true" });
  private readonly card = element(
    "aside",
    { class: "inspector", hidden: "" },
    element("div", { class: "field", "aria-hidden": "true" }, this.field, this.frame),
    element("div", {}, this.title, this.facts, this.weights),
  );
  private readonly input = new PixelCanvas(this.field, FIELD, FIELD);
  private readonly marker = element("span", { class: "unit-frame", hidden: "" });
  /** What the card is about: a layer, the canvas within it, and the row and column there. */
  private current: { view: LayerView; map: number; row: number; column: number } | null = null;

  constructor(
    private readonly kernelsOf: KernelsOf,
    private readonly shown: () => Shown,
    private readonly say: (text: string) => void,
  ) {
    document.body.append(this.card, this.marker);
    document.addEventListener("pointerdown", ({ target }) => {
      if (!(target as Element).closest?.(".units")) this.hide();
    });
    document.addEventListener("scroll", () => this.scrolled(), { passive: true });
  }

  /** Listens to the units of one layer. */
  attach(view: LayerView): void {
    const { units } = view;
    const point = (event: PointerEvent) => {
      const map = view.canvases.indexOf(event.target as HTMLCanvasElement);
      if (map < 0) return;
      const box = view.canvases[map].getBoundingClientRect();
      const [rows, columns] = view.shape;
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
      const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
      this.show(view, map, Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column)));
    };
    units.addEventListener("pointermove", point);
    units.addEventListener("pointerdown", point);
    units.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.hide();
    });
    const focused = () => {
      if (!units.matches(":focus-visible")) return;
      this.show(view, 0, 0, 0);
      this.speak();
    };
    units.addEventListener("focus", focused);
    focused(); // the keyboard may have been there before this was loaded
    units.addEventListener("blur", () => this.hide());
    units.addEventListener("keydown", (event) => this.key(event, view));
  }

  /** Shows the same unit of what the networks see now. */
  refresh(): void {
    if (this.current) this.paint();
  }

  hide(): void {
    this.current = null;
    this.card.hidden = this.marker.hidden = true;
  }

  /** The pointer is elsewhere then. Not so the keyboard: browsers scroll to what it goes to. */
  private scrolled(): void {
    if (this.current?.view.units.matches(":focus-visible")) this.put();
    else this.hide();
  }

  private key(event: KeyboardEvent, view: LayerView): void {
    const steps: Record<string, [number, number]> = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
    };
    if (event.key === "Escape") return this.hide();
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { map, row, column } = this.current?.view === view ? this.current : { map: 0, row: 0, column: 0 };
    const [rows, columns] = view.shape;
    const down = row + step[0];
    let right = column + step[1];
    let to = map;
    // Off the side of a map is on the next one.
    if (right < 0 && to > 0) [to, right] = [to - 1, columns - 1];
    if (right >= columns && to + 1 < view.canvases.length) [to, right] = [to + 1, 0];
    this.show(view, to, Math.min(rows - 1, Math.max(0, down)), Math.min(columns - 1, Math.max(0, right)));
    this.speak();
  }

  private speak(): void {
    this.say([this.title, this.facts].map(({ textContent }) => textContent).join(". "));
  }

  private show(view: LayerView, map: number, row: number, column: number): void {
    this.current = { view, map, row, column };
    this.card.hidden = this.marker.hidden = false;
    this.paint();
    this.put();
  }

  private paint(): void {
    const { view, map, row, column } = this.current!;
    const { pixels, palette } = this.shown();
    const { name } = view;
    const place = placeOf(view.layer, map, row, column, view.shape[1]);
    const padded = new Uint8Array(FIELD * FIELD);
    if (pixels) {
      for (let y = 0; y < 28; y++) {
        padded.set(pixels.subarray(28 * y, 28 * y + 28), FIELD * (y + PADDING) + PADDING);
      }
    }
    this.input.draw(palette, padded, 0, 255);
    const field = fieldOf(name, place);
    const share = (pixels: number) => `${(100 * pixels) / FIELD}%`;
    Object.assign(this.frame.style, {
      top: share(field.row + PADDING),
      left: share(field.column + PADDING),
      width: share(field.side),
      height: share(field.side),
    });
    const { unit } = texts;
    this.title.textContent = view.flat
      ? unit.flat(name, place.map + 1)
      : unit.place(name, place.map + 1, place.row + 1, place.column + 1);
    const value = view.valueAt(map, row, column);
    const facts = [
      ...(value === null ? [] : [unit.value(value.toFixed(2).replace("-", "−"))]),
      field.side < FIELD ? unit.sees(field.side, field.side) : unit.seesAll,
    ];
    this.facts.textContent = `${facts.join(" · ")}. ${this.paintKernels(view, place, palette)}`;
  }

  /** Gives the sentence on how the unit comes to its value. */
  private paintKernels(view: LayerView, { map }: Place, palette: Palette): string {
    const { unit } = texts;
    const before = BEFORE[view.name];
    const kernels = this.kernelsOf(view)[view.name];
    this.weights.replaceChildren();
    if (view.name === "S2" || view.name === "S4") {
      return kernels ? unit.mean(before!, kernels.data[map].toFixed(2).replace("-", "−")) : unit.maximum(before!);
    }
    if (!kernels) return "";
    const { pictures, height, width } = kernelsOf(kernels, map);
    const limit = pictures.reduce((most, each) => each.reduce((m, w) => Math.max(m, Math.abs(w)), most), 1e-6);
    for (const picture of pictures) {
      const canvas = element("canvas", {});
      canvas.style.width = `${width * (pictures.length > 1 ? 4 : 6)}px`;
      new PixelCanvas(canvas, width, height).draw(palette, picture, 0, limit);
      this.weights.append(canvas);
    }
    if (!before) return unit.convolution(unit.input);
    return unit.convolution(view.name === "F6" ? unit.unitsOf(before) : unit.maps(before));
  }

  /** Below the layer's units or, where there is no room, above them. */
  private put(): void {
    const { view, map, row, column } = this.current!;
    const box = view.canvases[map].getBoundingClientRect();
    const [rows, columns] = view.shape;
    const [high, wide] = [box.height / rows, box.width / columns];
    Object.assign(this.marker.style, {
      top: `${box.top + row * high}px`,
      left: `${box.left + column * wide}px`,
      width: `${wide}px`,
      height: `${high}px`,
    });
    const { offsetWidth: width, offsetHeight: height } = this.card;
    const { clientWidth, clientHeight } = document.documentElement;
    const { top: first, bottom: last } = view.units.getBoundingClientRect();
    const below = last + GAP + height <= clientHeight || first - GAP - height < 0;
    const left = Math.max(GAP, Math.min(box.left, clientWidth - width - GAP));
    const top = below ? Math.min(last + GAP, Math.max(GAP, clientHeight - height - GAP)) : first - GAP - height;
    Object.assign(this.card.style, { left: `${left}px`, top: `${top}px` });
  }
}
