import { describe, expect, it } from "vitest";
import { linspace32, numpyLog32, roundHalfEven, roundTo } from "../../lib/schedulers/float32.js";
import { betaQuantile } from "../../lib/schedulers/incomplete-beta.js";
import { countdown } from "../../lib/schedulers/numpy.js";
import { gaussKronrod21 } from "../../lib/schedulers/quadrature.js";

describe("the numbers that schedules are made of", () => {
  it("float32 logarithms are NumPy's, wrong last digits included", () => {
    const recorded = [
      [0.029167519882321358, -3.5346994400024414],
      [0.5, -0.6931471824645996],
      [0.7071067690849304, -0.3465735912322998], // correctly rounded: …6210346
      [0.9900000095367432, -0.010050325654447079], // correctly rounded: …0326586
      [1, 0],
      [1.5, 0.40546509623527527],
      [14.614646911621094, 2.6820242404937744],
      [157.4072723388672, 5.058836460113525],
      [20291.302734375, 9.917947769165039],
      [1.000000013351432e-10, -23.025850296020508],
    ] as const;
    for (const [x, log] of recorded) expect(numpyLog32(x)).toBe(log);
    expect(numpyLog32(0)).toBe(-Infinity);
    expect(numpyLog32(-1)).toBeNaN();
  });

  it("float32 linspace is torch's", () => {
    expect([...linspace32(Math.sqrt(0.00085), Math.sqrt(0.012), 7)]).toEqual([
      0.029154758900403976, 0.04255305230617523, 0.05595134198665619, 0.06934963166713715, 0.0827479213476181,
      0.09614621847867966, 0.10954450815916061,
    ]);
    expect([...linspace32(0.25, 1, 1)]).toEqual([0.25]);
  });

  it("quantiles of the beta distribution are SciPy's", () => {
    const recorded = [
      [1e-6, 0.6, 0.6, 1.8558824624053043e-10],
      [0.01, 0.6, 0.6, 0.0008612388215429059],
      [0.25, 0.6, 0.6, 0.17568037865269498],
      [0.5, 0.6, 0.6, 0.5],
      [0.75, 0.6, 0.6, 0.824319621347305],
      [0.999, 0.6, 0.6, 0.9999814412614826],
      [0.3, 2, 5, 0.18180347131894917],
      [0.9, 0.5, 3, 0.38624888180536926],
    ] as const;
    for (const [p, a, b, x] of recorded) expect(Math.abs(betaQuantile(p, a, b) / x - 1)).toBeLessThan(1e-13);
    expect([betaQuantile(0, 0.6, 0.6), betaQuantile(1, 0.6, 0.6)]).toEqual([0, 1]);
  });

  it("coefficients round to a tensor's precision as torch does", () => {
    const values = [1 / 3, 1e-8, 65519, 65520, 2 ** -25];
    expect(values.map((x) => roundTo("bfloat16", x))).toEqual([
      0.333984375, 1.0011717677116394e-8, 65536, 65536, 2.9802322387695312e-8,
    ]);
    expect(values.map((x) => roundTo("float16", x))).toEqual([0.333251953125, 0, 65504, Infinity, 0]);
    expect(roundTo("float32", 0.1)).toBe(Math.fround(0.1));
    expect(roundTo("float64", 0.1)).toBe(0.1);
  });

  it("halves round to even, and arange keeps NumPy's surplus element", () => {
    expect([0.5, 1.5, 2.5, -1.5, 2.4999].map(roundHalfEven)).toEqual([0, 2, 2, -2, 2]);
    const steps = countdown(1000, 1000 / 61);
    expect(steps.length).toBe(62);
    expect(Math.abs(steps[61]!)).toBeLessThan(1e-12);
  });

  it("quadrature is exact for the polynomials of the multistep method", () => {
    expect(gaussKronrod21((x) => 5 * x ** 4 - 3 * x ** 2, 1, 3)).toBeCloseTo(216, 11);
  });
});
