// Why a picture has no digit, in the words of lenet_zoo/pictures.

export const SEVERAL = "several characters: lenet-zoo read reads numbers";

/** There is no digit or number in the picture, or more than is asked for; the message says why. */
export class NoDigit extends Error {}

/** What is found in a picture. */
export interface Character {
  /** 28 × 28. */
  pixels: Uint8Array;
  /** Ink reaches the edge of the picture, which may cut the character off. */
  atEdge: boolean;
}

/** A digit, or null and why there is none. */
export interface Found extends Omit<Character, "pixels"> {
  pixels: Uint8Array | null;
  reason: string;
}

export function found(make: () => Character): Found {
  const [character, reason] = attempt(make);
  return { pixels: null, atEdge: false, ...character, reason };
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
