import { expect, test } from "vitest";

import { percent, reasonOf, verdict } from "../../src/verdict";

test("the best class is the answer from the threshold on", () => {
  const probabilities = [0.1, 0.6, 0.3];
  expect(verdict(probabilities, 0.6)).toEqual({ label: 1, confidence: 0.6, best: 1, none: expect.closeTo(0) });
  expect(verdict(probabilities, 0.61)).toEqual({ label: null, confidence: 0.6, best: 1, none: expect.closeTo(0) });
  expect(verdict([0.5, 0.5], 0).label).toBe(0);
});

test("a probability is never rounded up to a certainty", () => {
  expect(percent(0.5)).toBe("50.0 %");
  expect(percent(0.99961)).toBe("> 99.9 %");
  expect(percent(0.9989)).toBe("99.9 %");
  expect(percent(1)).toBe("> 99.9 %"); // what float32 rounds to 1 is no certainty
  expect(percent(0)).toBe("0.0 %");
});

test("a network with a class for none of these may say so, whatever the threshold", () => {
  const likeliest = verdict([0.1, 0.3], 0);
  expect(likeliest).toEqual({ label: null, confidence: 0.3, best: 1, none: expect.closeTo(0.6) });
  expect(reasonOf(likeliest)).toBe("none of these: 60.0 %");
  expect(verdict([0.1, 0.5], 0).label).toBe(1);
  expect(reasonOf(verdict([0.1, 0.5], 0.9))).toBe("not sure: 1 at 50.0 %");
  expect(reasonOf(verdict([0.1, 0.9], 0.9))).toBe("90.0 %");
});
