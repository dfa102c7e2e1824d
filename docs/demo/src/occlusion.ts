// What would change an answer: squares of the picture are erased in turn, and the network asked again.

/** Side of the square. */
export const SQUARE = 5;
const SIDE = 28;
/** So many pictures go through the network at a time; in between, the page can do other things. */
const BATCH = 32;

export interface Answers {
  /** Both count × classes. */
  logits: ArrayLike<number>;
  probabilities: ArrayLike<number>;
}

export interface Occlusion {
  /**
   * For each pixel, what erasing the square around it does to the lead of the best class over the second best, as a part
   * of it: 1 where the lead is gone, below 0 where it grows. 0 where the square holds no ink.
   */
  falls: Float32Array;
  /** The square whose loss changes the answer most: its middle, and the class that is then best; null for "none". */
  change: { row: number; column: number; label: number | null } | null;
}

/**
 * `answer` gives a network's answers to `count` pictures of 784 pixels; `label` is what it said of `pixels`. Ends with
 * null as soon as `stopped` says so.
 */
export async function occlusion(
  pixels: Uint8Array,
  answer: (pictures: Uint8Array, count: number) => Promise<Answers>,
  stopped: () => boolean = () => false,
): Promise<Occlusion | null> {
  const { lead, label, best } = told(await answer(pixels, 1), 0, null);
  const middles = inked(pixels);
  const falls = new Float32Array(SIDE * SIDE);
  let change: Occlusion["change"] = null;
  let most = -Infinity;
  for (let start = 0; start < middles.length; start += BATCH) {
    const part = middles.slice(start, start + BATCH);
    const pictures = new Uint8Array(part.length * SIDE * SIDE);
    part.forEach((middle, k) => pictures.set(erased(pixels, middle), k * SIDE * SIDE));
    const answers = await answer(pictures, part.length);
    await new Promise((resolve) => setTimeout(resolve));
    if (stopped()) return null;
    part.forEach((middle, k) => {
      const after = told(answers, k, best);
      const fall = (lead - after.lead) / Math.max(lead, 1e-6);
      falls[middle] = fall;
      if (after.label !== label && fall > most) {
        most = fall;
        change = { row: Math.floor(middle / SIDE), column: middle % SIDE, label: after.label };
      }
    });
  }
  return { falls, change };
}

const CLASSES = 10;

/** Of answer `k`: the lead of class `of` (by default the best one) in logits over the best other one; the answer. */
function told({ logits, probabilities }: Answers, k: number, of: number | null) {
  const at = k * CLASSES;
  let first = 0;
  let total = 0;
  for (let i = 0; i < CLASSES; i++) {
    if (logits[at + i] > logits[at + first]) first = i;
    total += probabilities[at + i];
  }
  const best = of ?? first;
  let other = -Infinity;
  for (let i = 0; i < CLASSES; i++) if (i !== best) other = Math.max(other, logits[at + i]);
  const label = 1 - total > probabilities[at + first] ? null : first;
  return { lead: logits[at + best] - other, label, best };
}

/** The middles of the squares that hold ink. */
function inked(pixels: Uint8Array): number[] {
  const reach = SQUARE >> 1;
  const found: number[] = [];
  for (let middle = 0; middle < SIDE * SIDE; middle++) {
    let ink = false;
    eachOf(middle, reach, (i) => (ink ||= pixels[i] > 0));
    if (ink) found.push(middle);
  }
  return found;
}

function erased(pixels: Uint8Array, middle: number): Uint8Array {
  const copy = pixels.slice();
  eachOf(middle, SQUARE >> 1, (i) => (copy[i] = 0));
  return copy;
}

function eachOf(middle: number, reach: number, visit: (i: number) => void): void {
  const [row, column] = [Math.floor(middle / SIDE), middle % SIDE];
  for (let y = Math.max(0, row - reach); y <= Math.min(SIDE - 1, row + reach); y++) {
    for (let x = Math.max(0, column - reach); x <= Math.min(SIDE - 1, column + reach); x++) visit(y * SIDE + x);
  }
}
