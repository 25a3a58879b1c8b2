import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LearningRate } from "../../lib/training/learning-rate.js";
import { createLrSchedule, LR_SCHEDULES, type LrScheduleName } from "../../lib/training/lr-schedule.js";
import { someOf } from "../helpers/cases.js";

interface Case {
  name: LrScheduleName;
  options: {
    num_warmup_steps?: number;
    num_training_steps?: number;
    num_cycles?: number;
    power?: number;
    step_rules?: string;
  };
  learning_rate: number;
  num_processes: number;
  steps: number[];
  rates: number[];
}

const cases = readFileSync(new URL("../fixtures/lr-schedules/cases.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

function learningRateOf(recorded: Case): LearningRate {
  const { num_warmup_steps, num_training_steps, num_cycles, power, step_rules } = recorded.options;
  return new LearningRate({
    schedule: recorded.name,
    learningRate: recorded.learning_rate,
    warmupSteps: num_warmup_steps,
    trainingSteps: num_training_steps ?? 0,
    numProcesses: recorded.num_processes,
    numCycles: num_cycles,
    power,
    stepRules: step_rules,
  });
}

describe("learning rates are diffusers'", () => {
  it("has cases of every schedule", () => {
    expect(new Set(cases.map(({ name }) => name))).toEqual(new Set(LR_SCHEDULES));
  });

  it.each(cases.map((recorded, i) => [i, recorded.name, recorded] as const))("case %i, %s", (_, __, recorded) => {
    const rate = learningRateOf(recorded);
    recorded.steps.forEach((step, i) => {
      rate.restore({ step: step * recorded.num_processes });
      // Two units in the last place of the full rate: cosines of two libraries may differ by one.
      expect(Math.abs(rate.current - recorded.rates[i]!)).toBeLessThanOrEqual(2 ** -51 * recorded.learning_rate);
    });
  });

  it("stepping equals computing a step directly, and can be resumed anywhere", () => {
    const recorded = cases.find(({ name, num_processes }) => name === "cosine" && num_processes > 1)!;
    const [stepping, resumed] = [learningRateOf(recorded), learningRateOf(recorded)];
    for (let step = 0; step <= 50; step++) {
      resumed.restore(stepping.state);
      expect(resumed.current).toBe(stepping.current);
      stepping.advance();
    }
    expect(stepping.state).toEqual({ step: 51 * recorded.num_processes });
  });
});

describe("for any numbers of steps", () => {
  const withSteps = LR_SCHEDULES.filter((name) => name !== "piecewise_constant");
  const any = fc.record({
    name: fc.constantFrom(...withSteps),
    numWarmupSteps: fc.nat(1000),
    numTrainingSteps: fc.nat(5000),
    numCycles: fc.integer({ min: 1, max: 20 }),
    power: fc.double({ min: 0, max: 5, noNaN: true }),
    step: fc.nat(20_000),
  });

  it("the multiplier lies between 0 and 1, rises through warm-up and is near 0 after the end", () => {
    fc.assert(
      fc.property(any, ({ name, step, ...options }) => {
        const schedule = createLrSchedule(name, { ...options, learningRate: 1 });
        const multiplier = schedule(step);
        expect(multiplier).toBeGreaterThanOrEqual(0);
        expect(multiplier).toBeLessThanOrEqual(1 + 1e-15);
        const { numWarmupSteps: warmup, numTrainingSteps: total } = options;
        if (name !== "constant" && step < warmup) expect(multiplier).toBe(step / warmup);
        // A cosine that goes on after its end rises again, as in diffusers.
        if (["linear", "cosine_with_restarts", "polynomial"].includes(name) && step > total && step > warmup)
          expect(multiplier).toBeLessThanOrEqual(1e-7);
      }),
      { numRuns: someOf(10_000), seed: 5 },
    );
  });

  it("the shape over optimizer steps does not depend on the number of processes", () => {
    fc.assert(
      fc.property(any, fc.integer({ min: 1, max: 16 }), ({ name, step, ...options }, numProcesses) => {
        // Neither does warm-up beyond the end, where decay is cut off at one step of the schedule.
        fc.pre(options.numTrainingSteps > options.numWarmupSteps);
        const { numWarmupSteps: warmupSteps, numTrainingSteps: trainingSteps, ...rest } = options;
        const common = { schedule: name, learningRate: 1, warmupSteps, trainingSteps, ...rest };
        const [one, many] = [new LearningRate(common), new LearningRate({ ...common, numProcesses })];
        one.restore({ step });
        many.restore({ step: step * numProcesses });
        expect(many.current).toBeCloseTo(one.current, 12);
      }),
      { numRuns: 2000, seed: 6 },
    );
  });
});

describe("piecewise constant rules", () => {
  const at = (stepRules: string, ...steps: number[]) =>
    steps.map(createLrSchedule("piecewise_constant", { stepRules }));

  it("hold before their step, in any order, the later of two for one step", () => {
    expect(at("1:10,0.1:20,0.01:30,0.005", 0, 9, 10, 19, 20, 29, 30, 1e6)).toEqual([
      1, 1, 0.1, 0.1, 0.01, 0.01, 0.005, 0.005,
    ]);
    expect(at("0.1:20,1:10,0.5", 5, 15, 25)).toEqual([1, 0.1, 0.5]);
    expect(at("1:10,2:10,3", 5, 10)).toEqual([2, 3]);
    expect(at(" 1e-3 : 1_000 , .5", 999, 1000)).toEqual([0.001, 0.5]);
    expect(at("0.25", 0, 7)).toEqual([0.25, 0.25]);
  });

  it("count optimizer steps, however many processes there are", () => {
    const rate = new LearningRate({
      schedule: "piecewise_constant",
      learningRate: 2,
      trainingSteps: 10,
      numProcesses: 4,
      stepRules: "1:3,0.5",
    });
    const rates = Array.from({ length: 5 }, () => {
      const { current } = rate;
      rate.advance();
      return current;
    });
    expect(rates).toEqual([2, 2, 2, 1, 1]);
  });

  it.each([
    "",
    "1:10",
    "1:10,",
    ",1",
    "1:10:5,1",
    "a:10,1",
    "1:a,1",
    "1:0,1",
    "1:-5,1",
    "1:1.5,1",
    "nan",
    "inf",
    "-1",
    "1;10,1",
    "0x1",
  ])("that are %j are refused", (rules) =>
    expect(() => at(rules, 0)).toThrowError(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(`rules "${rules}"`) }),
    ),
  );
});

describe("invalid settings of a schedule are refused", () => {
  const steps = { numWarmupSteps: 1, numTrainingSteps: 2 };

  it.each([
    ["sine", {}, /unknown learning-rate schedule "sine"/],
    ["linear", { numTrainingSteps: 1 }, /needs the number of warm-up steps/],
    ["constant_with_warmup", {}, /needs the number of warm-up steps/],
    ["cosine", { numWarmupSteps: 1 }, /needs the number of training steps/],
    ["cosine", { numWarmupSteps: -1, numTrainingSteps: 1 }, /must be a whole number, not -1/],
    ["linear", { numWarmupSteps: 1, numTrainingSteps: 1.5 }, /must be a whole number, not 1.5/],
    ["cosine_with_restarts", { ...steps, numCycles: 0 }, /cycles must be above 0/],
    ["polynomial", steps, /needs the learning rate/],
    ["polynomial", { ...steps, learningRate: 1e-7 }, /must be below 1e-7/],
    ["polynomial", { ...steps, learningRate: 1, power: -1 }, /power must be at least 0/],
    ["piecewise_constant", {}, /needs its rules/],
  ] as const)("%s with %j", (name, options, message) => {
    expect(() => createLrSchedule(name as LrScheduleName, options)).toThrowError(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) }),
    );
  });

  it("invalid rates and numbers of processes are refused", () => {
    const options = { schedule: "constant", learningRate: 1, trainingSteps: 1 } as const;
    expect(() => new LearningRate({ ...options, learningRate: Number.NaN })).toThrow(/learning rate must be/);
    expect(() => new LearningRate({ ...options, numProcesses: 0 })).toThrow(/at least 1, not 0/);
  });

  it("but not a polynomial without a step between warm-up and end, at which diffusers divides by zero", () => {
    const schedule = createLrSchedule("polynomial", { numWarmupSteps: 4, numTrainingSteps: 4, learningRate: 1 });
    expect([3, 4, 5].map(schedule)).toEqual([0.75, 1e-7, 1e-7]);
  });
});
