import { texts } from "./texts";

/** What a network says: a class; or none, because it is not sure enough or because none of its classes fits. */
export interface Verdict {
  label: number | null;
  confidence: number;
  best: number;
  /** The probability that it is none of the classes: what is missing to 1. */
  none: number;
}

export function verdict(probabilities: ArrayLike<number>, threshold: number): Verdict {
  let best = 0;
  let total = 0;
  for (let i = 0; i < probabilities.length; i++) {
    total += probabilities[i];
    if (probabilities[i] > probabilities[best]) best = i;
  }
  const confidence = probabilities[best];
  const none = Math.max(0, 1 - total);
  return { label: confidence >= threshold && none <= confidence ? best : null, confidence, best, none };
}

/** The verdict in words, without its label. */
export function reasonOf({ label, best, confidence, none }: Verdict): string {
  if (label !== null) return percent(confidence);
  const { noneOfThese, notSure } = texts.said;
  return none > confidence ? noneOfThese(percent(none)) : notSure(best, percent(confidence));
}

/** A probability in per cent, never rounded up to a certainty. */
export function percent(value: number): string {
  return value > 0.999 ? "> 99.9 %" : `${(100 * value).toFixed(1)} %`;
}
