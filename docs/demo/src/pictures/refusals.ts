// Why a picture has no digit, in the words of lenet_zoo/pictures.

export const SEVERAL = "several characters: lenet-zoo read reads numbers";

/** There is no digit or number in the picture, or more than is asked for; the message says why. */
export class NoDigit extends Error {}

/** The 28 × 28 pixels of a digit, or null and why there is none. */
export interface Found {
  pixels: Uint8Array | null;
  reason: string;
}

export function found(make: () => Uint8Array): Found {
  const [pixels, reason] = attempt(make);
  return { pixels, reason };
}

/** What `make` makes, or null and why there is no digit or number. */
export function attempt<Made>(make: () => Made): [made: Made | null, reason: string] {
  try {
    return [make(), ""];
  } catch (error) {
    if (error instanceof NoDigit) return [null, error.message];
    throw error;
  }
}
