// Picture files → the digit or the number in them, as lenet_zoo.digit_from_image and lenet_zoo.read find it. It runs in a
// worker.

import { ENOUGH, findCharacter } from "./character";
import { greyFromRgba } from "./grey";
import { blockMeans, floorDiv, reduction, type Grid } from "./kernels";
import { ENOUGH_OF_LINE, linesFromGrey } from "./line";
import { attempt, found, type Found } from "./refusals";
import type { Strip } from "./strip";

/** What is wrong with a picture; `faultText` says it. */
export type Fault =
  | { kind: "notAPicture"; name: string }
  | { kind: "tooLarge"; width: number; height: number }
  | { kind: "unreadable"; why: string }
  | { kind: "noReader" };

/** A picture that cannot be used. */
export class PictureError extends Error {
  constructor(readonly fault: Fault) {
    super(fault.kind);
  }
}

interface Viewed {
  /** For the eye: at most VIEW_SIDE pixels high and wide. */
  bitmap: ImageBitmap;
}

export type Picture = Viewed & Found;

/** A picture of a number; without strips, the reason says why there are none. */
export interface LinePicture extends Viewed {
  strips: Strip[] | null;
  reason: string;
  /** Of the file, whose pixels boxes are given in. */
  height: number;
  width: number;
}

/** RGBA, row by row. */
interface Pixels {
  data: Uint8ClampedArray | Uint8Array;
  height: number;
  width: number;
}

/** As in lenet_zoo.pictures.reading. */
const MAX_PIXELS = 64_000_000;
/** So many pixels are copied out of a large picture at a time. */
const STRIP_PIXELS = 2 ** 20;
const VIEW_SIDE = 1024;

/** Throws PictureError. */
export async function readPicture(file: Blob): Promise<Picture> {
  const { bitmap, grey } = await opened(file, ENOUGH);
  return { ...found(() => findCharacter(grey.data, grey.height, grey.width)), bitmap: await viewOf(bitmap) };
}

/** Throws PictureError. */
export async function readLinePicture(file: Blob): Promise<LinePicture> {
  const { bitmap, grey } = await opened(file, ENOUGH_OF_LINE);
  const { height, width } = bitmap;
  const [strips, reason] = attempt(() => linesFromGrey(grey, [height, width]));
  return { strips, reason, height, width, bitmap: await viewOf(bitmap) };
}

/** A file's picture, and its grey levels with `enough` pixels of its longer side. */
async function opened(file: Blob, enough: number): Promise<{ bitmap: ImageBitmap; grey: Grid }> {
  let bitmap: ImageBitmap;
  try {
    // The pixels as they are stored: no colour profile applied, no multiplication by alpha; turned as the camera says.
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
  } catch {
    throw new PictureError({ kind: "notAPicture", name: file instanceof File ? file.name : "" });
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new PictureError({ kind: "tooLarge", width, height });
  const pixels = opaquePixels(bitmap, enough) ?? (await transparentPixels(bitmap, file));
  const data = greyFromRgba(pixels.data, pixels.height, pixels.width);
  return { bitmap, grey: { data, height: pixels.height, width: pixels.width } };
}

/** Step R2; null where the picture is not opaque, as those are not reduced. */
function opaquePixels(bitmap: ImageBitmap, enough: number): Pixels | null {
  const factor = reduction(bitmap.height, bitmap.width, enough);
  const [height, width] = [floorDiv(bitmap.height, factor), floorDiv(bitmap.width, factor)];
  const out = new Uint8Array(4 * height * width);
  const rows = Math.max(1, floorDiv(STRIP_PIXELS, factor * bitmap.width)); // of the result, at a time
  const context = contextOf(rows * factor, bitmap.width);
  for (let row = 0; row < height; row += rows) {
    const high = Math.min(rows, height - row) * factor;
    context.clearRect(0, 0, bitmap.width, high);
    context.drawImage(bitmap, 0, -row * factor);
    const { data } = context.getImageData(0, 0, bitmap.width, high);
    for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return null;
    out.set(blockMeans(data, high, bitmap.width, factor, 4), 4 * row * width);
  }
  return { data: out, height, width };
}

async function transparentPixels(bitmap: ImageBitmap, file: Blob): Promise<Pixels> {
  const { width, height } = bitmap;
  const context = contextOf(height, width);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const translucent = data.some((value, i) => i % 4 === 3 && value > 0 && value < 255);
  return { data: (translucent && (await unmultiplied(file, width, height))) || data, height, width };
}

function contextOf(height: number, width: number): OffscreenCanvasRenderingContext2D {
  return new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
}

/** A canvas holds colours multiplied by alpha, which costs half a level; where the browser can, decode without it. */
async function unmultiplied(file: Blob, width: number, height: number): Promise<Uint8Array | null> {
  if (!("ImageDecoder" in self)) return null;
  const options = {
    data: file.stream(),
    type: file.type,
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  } as const;
  const decoder = new ImageDecoder(options);
  try {
    const { image } = await decoder.decode();
    const rgba = new Uint8Array(4 * width * height);
    const right = image.codedWidth === width && image.codedHeight === height;
    if (right) await image.copyTo(rgba, { format: "RGBA" });
    image.close();
    return right ? rgba : null;
  } catch {
    return null;
  } finally {
    decoder.close();
  }
}

async function viewOf(bitmap: ImageBitmap): Promise<ImageBitmap> {
  const scale = VIEW_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  const view = await createImageBitmap(bitmap, {
    resizeWidth: side(bitmap.width),
    resizeHeight: side(bitmap.height),
    resizeQuality: "medium",
  });
  bitmap.close();
  return view;
}
