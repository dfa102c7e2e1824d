// Pixels to grey: steps G1 and G2, as lenet_zoo/pictures/grey.py specifies them.

import { blockMeans, floorDiv, reduction, spread } from "./kernels";

const SPREAD_SIDE = 32;

/** RGBA, alpha not premultiplied, row by row → grey levels. */
export function greyFromRgba(rgba: Uint8ClampedArray | Uint8Array, height: number, width: number): Uint8Array {
  const size = height * width;
  const [red, green, blue, alpha] = [0, 1, 2, 3].map((k) => {
    const plane = new Uint8Array(size);
    for (let i = 0; i < size; i++) plane[i] = rgba[4 * i + k];
    return plane;
  });
  const channels = [red, green, blue];
  if (alpha.some((a) => a < 255)) {
    const backdrop = backdropOf(lumaOf(channels), alpha);
    for (const channel of channels) {
      for (let i = 0; i < size; i++) {
        channel[i] = floorDiv(channel[i] * alpha[i] + backdrop * (255 - alpha[i]) + 127, 255);
      }
    }
  }
  const factor = reduction(height, width, SPREAD_SIDE);
  const small = channels.map((channel) => blockMeans(channel, height, width, factor, 1));
  const spreads = small.map(spread);
  const widest = spreads.indexOf(Math.max(...spreads));
  return spreads[widest] > 4 * spread(lumaOf(small)) ? channels[widest] : lumaOf(channels);
}

function lumaOf([red, green, blue]: Uint8Array[]): Uint8Array {
  const luma = new Uint8Array(red.length);
  for (let i = 0; i < luma.length; i++) luma[i] = (19595 * red[i] + 38470 * green[i] + 7471 * blue[i] + 32768) >> 16;
  return luma;
}

function backdropOf(luma: Uint8Array, alpha: Uint8Array): number {
  const opaque = luma.filter((_, i) => alpha[i] >= 128).sort();
  if (!opaque.length) return 255;
  const median = opaque[(opaque.length - 1) >> 1];
  const away = opaque.reduce((count, level) => count + Number(Math.abs(level - median) > 64), 0);
  if (200 * away > opaque.length) return median;
  return median < 128 ? 255 : 0;
}
