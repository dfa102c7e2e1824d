// Feature maps in the page's own colours: zero is paper, positive is ink, negative is the second colour.

export interface Palette {
  /** 511 colours as canvas pixels; 255 is zero. */
  signed: Uint32Array;
  ink: string;
  cursor: string;
}

type Rgb = [number, number, number];

export function readPalette(element: Element): Palette {
  const style = getComputedStyle(element);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return {
    signed: ramp(parse(value("--map-negative")), parse(value("--map-zero")), parse(value("--map-positive"))),
    ink: value("--ink"),
    cursor: value("--accent"),
  };
}

function parse(hex: string): Rgb {
  const digits = parseInt(hex.slice(1), 16);
  return [digits >> 16, (digits >> 8) & 255, digits & 255];
}

function ramp(negative: Rgb, zero: Rgb, positive: Rgb): Uint32Array {
  const colours = new Uint32Array(511);
  for (let i = -255; i <= 255; i++) {
    const end = i < 0 ? negative : positive;
    const t = Math.abs(i) / 255;
    const [r, g, b] = zero.map((from, k) => Math.round(from + (end[k] - from) * t));
    colours[i + 255] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return colours;
}

/** Draws values in [−limit, limit], row by row, one pixel each. */
export class PixelCanvas {
  private readonly context: CanvasRenderingContext2D;
  private readonly image: ImageData;
  private readonly words: Uint32Array;

  constructor(
    readonly canvas: HTMLCanvasElement,
    width: number,
    height: number,
  ) {
    canvas.width = width;
    canvas.height = height;
    // Small canvases that change at every movement of the pen: kept in memory, they need no trip to the GPU.
    this.context = canvas.getContext("2d", { willReadFrequently: true })!;
    this.image = this.context.createImageData(width, height);
    this.words = new Uint32Array(this.image.data.buffer);
  }

  draw(palette: Palette, values: ArrayLike<number>, offset: number, limit: number): void {
    const scale = 255 / limit;
    for (let i = 0; i < this.words.length; i++) {
      const level = Math.round(values[offset + i] * scale);
      this.words[i] = palette.signed[255 + Math.max(-255, Math.min(255, level))];
    }
    this.context.putImageData(this.image, 0, 0);
  }
}
