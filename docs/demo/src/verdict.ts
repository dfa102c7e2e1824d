/** What a network says: a class, or none because it is not sure enough, or none because there is nothing to read. */
export interface Verdict {
  label: number | null;
  confidence: number;
  best: number;
}

export function verdict(probabilities: ArrayLike<number>, threshold: number): Verdict {
  let best = 0;
  for (let i = 1; i < probabilities.length; i++) if (probabilities[i] > probabilities[best]) best = i;
  const confidence = probabilities[best];
  return { label: confidence >= threshold ? best : null, confidence, best };
}

/** A probability in per cent, never rounded up to a certainty. */
export function percent(value: number): string {
  return value > 0.999 && value < 1 ? "> 99.9 %" : `${(100 * value).toFixed(1)} %`;
}
