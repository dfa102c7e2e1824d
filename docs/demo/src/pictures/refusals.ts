// Why a picture has no digit, in the words of lenet_zoo/pictures.

export const SEVERAL = "several characters: lenet-zoo read reads numbers";

/** There is no digit in the picture, or more than one; the message says why. */
export class NoDigit extends Error {}

/** The 28 × 28 pixels of a digit, or null and why there is none. */
export interface Found {
  pixels: Uint8Array | null;
  reason: string;
}

export function found(make: () => Uint8Array): Found {
  try {
    return { pixels: make(), reason: "" };
  } catch (error) {
    if (error instanceof NoDigit) return { pixels: null, reason: error.message };
    throw error;
  }
}
