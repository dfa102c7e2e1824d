// The drawing pad: strokes of a mouse, a pen, a finger or the arrow keys, or a picture put in by the page.

import type { Grid } from "./pictures/kernels";

/** [x, y] from the upper left and the line's width, in heights of the pad. */
export type Point = [x: number, y: number, width: number];
export type Stroke = Point[];
/** A stroke that is put in: its points alone. */
export type Points = [x: number, y: number][];

/** What is shown of a picture, and whatever else the page keeps of it. */
interface Shown {
  bitmap: ImageBitmap;
}

interface State<Picture> {
  strokes: Stroke[];
  picture: Picture | null;
  /** Put in by the page, not drawn. The first line over it starts a drawing of its own; undo brings it back. */
  given?: boolean;
}

/** Height of the picture that is made of strokes for the networks: 5 pixels for each of the digit's. */
const RASTER = 140;
export const PEN_WIDTH = 0.075;

const EMPTY = { strokes: [], picture: null };
const KEY_STEP = 1 / 28;
const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class Pad<Picture extends Shown> {
  /** Of what is drawn from now on. */
  penWidth = PEN_WIDTH;
  /** Called after each change, with the time (as in performance.now) of what caused it. */
  onchange: (since: number) => void = () => {};
  /** Called before a change that is not one more step of the same line or sample. */
  onact: () => void = () => {};
  /** Called when the keyboard puts the pen down, and when its stroke ends. */
  onlift: (down: boolean) => void = () => {};

  private past: State<Picture>[] = [];
  private state: State<Picture> = EMPTY;
  private active: Stroke | null = null;
  private pointer: number | null = null;
  private cursor: [number, number] = [0.5, 0.5];
  private cursorShown = false;
  private writing = 0;

  private readonly view: CanvasRenderingContext2D;
  private readonly raster: CanvasRenderingContext2D;
  private ink = "#000";
  private cursorColour = "#000";

  /** `wide`: as wide as the canvas is on the page; else a square. */
  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly wide = false,
  ) {
    this.view = canvas.getContext("2d")!;
    const raster = document.createElement("canvas");
    raster.width = raster.height = RASTER;
    this.raster = raster.getContext("2d", { willReadFrequently: true })!;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  get picture(): Picture | null {
    return this.state.picture;
  }

  get empty(): boolean {
    return !this.state.picture && !this.state.strokes.length && !this.active;
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  /** The strokes as grey values, 0 background, 255 ink. */
  grey(): Grid {
    const { width, height } = this.raster.canvas;
    const { data } = this.raster.getImageData(0, 0, width, height);
    const grey = new Uint8Array(width * height);
    for (let i = 0; i < grey.length; i++) grey[i] = data[4 * i];
    return { data: grey, height, width };
  }

  /** Width by height. */
  get ratio(): number {
    const { width, height } = this.raster.canvas;
    return width / height;
  }

  setColours(ink: string, cursor: string): void {
    this.ink = ink;
    this.cursorColour = cursor;
    this.paint();
  }

  show(picture: Picture): void {
    this.enter({ strokes: [], picture, given: true });
  }

  clear(): void {
    if (!this.empty) this.enter(EMPTY);
  }

  undo(): void {
    const before = this.past.pop();
    if (!before) return; // and a picture that is being read goes on
    this.onact();
    this.lift();
    cancelAnimationFrame(this.writing);
    this.state = before;
    this.paint();
    this.onchange(performance.now());
  }

  /** Puts in strokes at once, or writes them in `duration` ms. */
  write(strokes: Points[], duration: number): void {
    const whole: Stroke[] = strokes.map((stroke) => densify(stroke).map(([x, y]): Point => [x, y, PEN_WIDTH]));
    if (!duration) return this.enter({ strokes: whole, picture: null, given: true });
    this.enter({ strokes: [], picture: null, given: true });
    const total = whole.reduce((sum, stroke) => sum + stroke.length, 0);
    const start = performance.now();
    const step = (now: number) => {
      let left = Math.max(1, Math.ceil(total * Math.min(1, (now - start) / duration)));
      const finished = left >= total;
      const part: Stroke[] = [];
      for (const stroke of whole) {
        if (left > 0) part.push(stroke.slice(0, left));
        left -= stroke.length;
      }
      this.state = { strokes: part, picture: null, given: true };
      this.paint();
      this.onchange(now);
      if (!finished) this.writing = requestAnimationFrame(step);
    };
    this.writing = requestAnimationFrame(step);
  }

  private enter(state: State<Picture>): void {
    this.onact();
    this.lift();
    cancelAnimationFrame(this.writing);
    this.past.push(this.state);
    this.state = state;
    this.paint();
    this.onchange(performance.now());
  }

  // -- strokes ---------------------------------------------------------------------------------------------------

  private begin(point: Point): void {
    this.onact();
    cancelAnimationFrame(this.writing);
    this.past.push(this.state);
    this.state = { strokes: this.state.given ? [] : this.state.strokes, picture: null };
    this.active = [point];
    this.paint();
  }

  private extend(point: Point): void {
    const stroke = this.active!;
    stroke.push(point);
    const tail = stroke.slice(-2);
    drawLines(this.view, tail, this.canvas.height, this.ink);
    drawLines(this.raster, tail, RASTER, "#fff");
  }

  private lift(): void {
    if (!this.active) return;
    this.state = { strokes: [...this.state.strokes, this.active], picture: null };
    this.active = null;
    if (this.pointer === null) this.onlift(false);
    this.pointer = null;
  }

  private point(event: PointerEvent): Point {
    const box = this.canvas.getBoundingClientRect();
    // A pen that reports pressure writes between half and one and a half of the width; 0.5 is what others report.
    const pressed = event.pointerType === "pen" && event.pressure > 0 ? 0.5 + event.pressure : 1;
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return [(x / box.width) * this.ratio, y / box.height, this.penWidth * pressed];
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (this.pointer !== null || event.button !== 0) return;
      this.lift();
      this.hideCursor();
      this.pointer = event.pointerId;
      canvas.setPointerCapture(event.pointerId);
      this.begin(this.point(event));
      this.onchange(event.timeStamp);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.extend(this.point(each));
      this.onchange(event.timeStamp);
    });
    const end = (event: PointerEvent) => {
      if (event.pointerId !== this.pointer) return;
      this.lift();
      this.onchange(event.timeStamp);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);

    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", (event) => {
      if (this.active && this.pointer === null) {
        this.lift();
        this.onchange(event.timeStamp);
      }
      this.hideCursor();
    });
  }

  private key(event: KeyboardEvent): void {
    const arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || this.pointer !== null) return;
    const drawing = this.active !== null;
    if (arrow) {
      const [x, y] = this.cursor;
      this.cursor = [clamp(x + arrow[0] * KEY_STEP, this.ratio), clamp(y + arrow[1] * KEY_STEP, 1)];
      if (this.active) this.extend([...this.cursor, this.penWidth]);
    } else if (event.key === " ") {
      if (this.active) this.lift();
      else {
        this.begin([...this.cursor, this.penWidth]);
        this.onlift(true);
      }
    } else if (event.key === "Escape") {
      this.lift();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.cursorShown = true;
    this.paint();
    if (drawing || this.active) this.onchange(event.timeStamp); // else the pen was moved over the paper
  }

  private hideCursor(): void {
    if (!this.cursorShown) return;
    this.cursorShown = false;
    this.paint();
  }

  // -- painting --------------------------------------------------------------------------------------------------

  /** Takes the canvas's size on the page. */
  resize(): void {
    const { canvas, raster } = this;
    const width = Math.round(canvas.clientWidth * devicePixelRatio);
    const height = this.wide ? Math.round(canvas.clientHeight * devicePixelRatio) : width;
    if (!width || !height || (width === canvas.width && height === canvas.height)) return;
    canvas.width = width;
    canvas.height = height;
    const before = this.ratio;
    raster.canvas.width = Math.round((RASTER * width) / height);
    if (this.wide) this.move(before);
    this.paint();
    if (this.wide) this.onchange(performance.now());
  }

  /** Keeps what is drawn in the middle, and on the pad where that has become narrower, as when a phone is turned. */
  private move(before: number): void {
    const scale = Math.min(1, this.ratio / before);
    const moved = (strokes: Stroke[]) =>
      strokes.map((stroke) =>
        stroke.map(([x, y, width]): Point => [
          (x - before / 2) * scale + this.ratio / 2,
          (y - 0.5) * scale + 0.5,
          width * scale,
        ]),
      );
    this.past = this.past.map((state) => ({ ...state, strokes: moved(state.strokes) }));
    this.state = { ...this.state, strokes: moved(this.state.strokes) };
    if (this.active) [this.active] = moved([this.active]);
  }

  private paint(): void {
    const { width, height } = this.canvas;
    this.view.clearRect(0, 0, width, height);
    this.raster.fillStyle = "#000";
    this.raster.fillRect(0, 0, this.raster.canvas.width, RASTER);
    if (this.state.picture) {
      const { bitmap } = this.state.picture;
      const scale = Math.min(width / bitmap.width, height / bitmap.height);
      const [across, down] = [bitmap.width * scale, bitmap.height * scale];
      this.view.imageSmoothingEnabled = scale < 4;
      this.view.imageSmoothingQuality = "high";
      this.view.drawImage(bitmap, (width - across) / 2, (height - down) / 2, across, down);
    }
    for (const stroke of this.active ? [...this.state.strokes, this.active] : this.state.strokes) {
      drawStroke(this.view, stroke, height, this.ink);
      drawStroke(this.raster, stroke, RASTER, "#fff");
    }
    if (this.cursorShown) {
      const [x, y] = this.cursor;
      this.view.beginPath();
      this.view.arc(x * height, y * height, (this.penWidth / 2) * height, 0, 2 * Math.PI);
      this.view.lineWidth = 2 * devicePixelRatio;
      this.view.strokeStyle = this.cursorColour;
      this.view.stroke();
    }
  }
}

function drawStroke(context: CanvasRenderingContext2D, stroke: Stroke, side: number, colour: string): void {
  // A tap is a dot, and a canvas draws no line without length.
  const [x, y, width] = stroke[0];
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x * side, y * side, (width / 2) * side, 0, 2 * Math.PI);
  context.fill();
  drawLines(context, stroke, side, colour);
}

function drawLines(context: CanvasRenderingContext2D, stroke: Stroke, side: number, colour: string): void {
  context.strokeStyle = colour;
  context.lineCap = context.lineJoin = "round";
  for (let i = 1; i < stroke.length; i++) {
    const [x0, y0] = stroke[i - 1];
    const [x, y, width] = stroke[i];
    context.lineWidth = width * side;
    context.beginPath();
    context.moveTo(x0 * side, y0 * side);
    context.lineTo(x * side, y * side);
    context.stroke();
  }
}

/** Points at most one hundredth of the pad apart, so that writing looks even. */
function densify(stroke: Points): Points {
  const out: Points = [stroke[0]];
  for (let i = 1; i < stroke.length; i++) {
    const [x0, y0] = stroke[i - 1];
    const [x1, y1] = stroke[i];
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) * 100));
    for (let k = 1; k <= steps; k++) out.push([x0 + ((x1 - x0) * k) / steps, y0 + ((y1 - y0) * k) / steps]);
  }
  return out;
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(most, value));
}
