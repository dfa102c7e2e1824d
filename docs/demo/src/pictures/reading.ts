// Picture files → grey values, as lenet_zoo.digit_from_image sees them.

import { greyFromRgba } from "./digit";
import type { Picture } from "./pad";

/** A picture that cannot be used, with a text for the reader of the page. */
export class PictureError extends Error {}

/** As in lenet_zoo.pictures.character. */
const MAX_PIXELS = 64_000_000;

export async function decode(file: Blob): Promise<Picture> {
  let bitmap: ImageBitmap;
  try {
    // The pixels as they are stored: no colour profile applied, no multiplication by alpha; turned as the camera says.
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
  } catch {
    const name = file instanceof File && file.name ? `“${file.name}”` : "That";
    throw new PictureError(`${name} is not a picture that this browser can read. PNG, JPEG, WebP and GIF are.`);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    throw new PictureError(`The picture has ${width} × ${height} pixels: 64 million are the most.`);
  }
  return { bitmap, grey: greyFromRgba(await pixelsOf(bitmap, file), height, width) };
}

async function pixelsOf(bitmap: ImageBitmap, file: Blob): Promise<Uint8ClampedArray | Uint8Array> {
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const translucent = data.some((value, i) => i % 4 === 3 && value > 0 && value < 255);
  return (translucent && (await unmultiplied(file, width, height))) || data;
}

/** A canvas holds colours multiplied by alpha, which costs half a level; where the browser can, decode without it. */
async function unmultiplied(file: Blob, width: number, height: number): Promise<Uint8Array | null> {
  if (!("ImageDecoder" in window)) return null;
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
