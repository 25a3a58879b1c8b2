import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { declareOptions, type OptionInput, type OptionValues } from "../../lib/options/declaration.js";
import { parseArguments, resolveOptions } from "../../lib/options/parse.js";

const options = declareOptions({
  output_dir: { type: "string", required: true, help: "where to" },
  num_steps: { type: "integer", min: 1, max: 1000, default: 20, help: "how many" },
  guidance_scale: { type: "number", default: 7.5, help: "how much" },
  eta: { type: "number", min: 0, help: "noise" },
  dtype: { type: "string", choices: ["float32", "bfloat16"], default: "float32", help: "type" },
  seed: { type: "bigint", min: 0, max: 2n ** 64n - 1n, help: "seed" },
  use_8bit_adam: { type: "boolean", help: "less memory" },
  sigmas: { type: "numbers", min: 0, help: "noise levels" },
  nets: { type: "strings", help: "several" },
  made: { type: "strings", choices: ["none", "edges"], help: "of each" },
  progress: { type: "boolean", default: true, help: "no progress" },
});

const parse = (...argv: string[]) => parseArguments(options, ["--output_dir", "x", ...argv]);
const usageError = (...argv: string[]) => {
  try {
    parseArguments(options, argv);
  } catch (error) {
    expect(error).toMatchObject({ name: "InstructPix2PixError", code: "ERR_USAGE" });
    return (error as Error).message;
  }
  throw new Error(`${argv.join(" ")} was accepted`);
};

describe("a command line", () => {
  it("fills in defaults, and omits options without one", () => {
    expect(parse()).toEqual({
      outputDir: "x",
      numSteps: 20,
      guidanceScale: 7.5,
      eta: undefined,
      dtype: "float32",
      seed: undefined,
      use8bitAdam: false,
      sigmas: undefined,
      progress: true,
    });
  });

  it.each([
    ["snake_case", ["--num_steps", "5"], { numSteps: 5 }],
    ["kebab-case", ["--num-steps", "5"], { numSteps: 5 }],
    ["a mixture of both", ["--use_8bit-adam"], { use8bitAdam: true }],
    ["an attached value", ["--num_steps=5"], { numSteps: 5 }],
    ["an attached value with another =", ["--output-dir=a=b"], { outputDir: "a=b" }],
    ["an attached empty value", ["--output_dir="], { outputDir: "" }],
    ["dashes in an attached value", ["--output-dir=a-b-c"], { outputDir: "a-b-c" }],
    ["dashes in a value", ["--output-dir", "a-b-c"], { outputDir: "a-b-c" }],
    ["a negative number", ["--guidance_scale", "-1.5"], { guidanceScale: -1.5 }],
    ["a negative number that is attached", ["--guidance_scale=-1.5"], { guidanceScale: -1.5 }],
    ["an exponent", ["--guidance_scale", "-1.5e-3"], { guidanceScale: -1.5e-3 }],
    ["a number that begins with its point", ["--guidance_scale", ".5"], { guidanceScale: 0.5 }],
    ["a text that is a negative number", ["--output_dir", "-7"], { outputDir: "-7" }],
    ["a text with a dash at its start and white space", ["--output_dir", "- a list"], { outputDir: "- a list" }],
    ["a flag-like text that is attached", ["--output_dir=--grid"], { outputDir: "--grid" }],
    ["a lone dash", ["--output_dir", "-"], { outputDir: "-" }],
    ["an empty text", ["--output_dir", ""], { outputDir: "" }],
    ["the last of repeated flags", ["--num_steps", "5", "--num-steps=6"], { numSteps: 6 }],
    ["a boolean that is taken back", ["--use_8bit_adam", "--no_use_8bit_adam"], { use8bitAdam: false }],
    ["a boolean that is on by default", ["--no-progress"], { progress: false }],
    ["a boolean with a value", ["--progress=false", "--use-8bit-adam=TRUE"], { progress: false, use8bitAdam: true }],
    ["a double negation", ["--no_progress=false"], { progress: true }],
    ["a seed of 64 bits", ["--seed", "18446744073709551615"], { seed: 18446744073709551615n }],
    ["a plus sign", ["--num_steps", "+5"], { numSteps: 5 }],
    ["the end of options", ["--num_steps", "5", "--"], { numSteps: 5 }],
    ["a list of numbers", ["--sigmas", "9.5, 3,4e-1,0"], { sigmas: [9.5, 3, 0.4, 0] }],
    ["a list of one", ["--sigmas=1"], { sigmas: [1] }],
    [
      "all of a list's repeated flags",
      ["--nets", "a,b", "--made=edges", "--nets=c"],
      { nets: ["a,b", "c"], made: ["edges"] },
    ],
    ["the limits of a range", ["--num_steps", "1000", "--eta", "0"], { numSteps: 1000, eta: 0 }],
  ])("takes %s", (_, argv, expected) => {
    expect(parse(...argv)).toMatchObject(expected);
  });

  it.each([
    ["an unknown flag", ["--nonsense"], "unknown option --nonsense"],
    ["a misspelled flag", ["--num_setps", "5"], "unknown option --num_setps; did you mean --num_steps?"],
    ["a misspelled flag in kebab-case", ["--num-step=5"], "unknown option --num-step; did you mean --num_steps?"],
    ["an abbreviation", ["--guid", "5"], "unknown option --guid; did you mean --guidance_scale?"],
    ["the negation of an option that is not a boolean", ["--no_seed"], "unknown option --no_seed"],
    ["a flag without its value", ["--num_steps"], "--num_steps needs a value"],
    [
      "a flag in place of a value",
      ["--num-steps", "--seed"],
      "--num-steps needs a value; one that begins with a dash is given as --num-steps=--seed",
    ],
    ["a stray word", ["edit.png"], 'unexpected argument "edit.png"; options begin with --'],
    ["a stray word behind the end of options", ["--", "a"], 'unexpected argument "a"; options begin with --'],
    ["a value for a boolean", ["--use_8bit_adam", "yes"], 'unexpected argument "yes"; options begin with --'],
    [
      "another value for a boolean",
      ["--use_8bit_adam=maybe"],
      '--use_8bit_adam takes no value, or true or false, not "maybe"',
    ],
    ["a short flag", ["-n", "5"], 'unexpected argument "-n"; options begin with --'],
    [
      "a fraction for a whole number",
      ["--num_steps", "2.5"],
      '--num_steps takes a whole number from 1 to 1000, not "2.5"',
    ],
    ["zero", ["--num_steps", "0"], "--num_steps takes a whole number from 1 to 1000, not 0"],
    ["a number above the limit", ["--num_steps=1001"], "--num_steps takes a whole number from 1 to 1000, not 1001"],
    ["a number below the limit", ["--eta=-0.5"], "--eta takes a number of at least 0, not -0.5"],
    ["NaN", ["--guidance_scale", "NaN"], '--guidance_scale takes a number, not "NaN"'],
    ["infinity", ["--guidance_scale", "inf"], '--guidance_scale takes a number, not "inf"'],
    ["a number too large for any", ["--guidance_scale", "1e999"], '--guidance_scale takes a number, not "1e999"'],
    ["a word for a number", ["--guidance_scale", "abc"], '--guidance_scale takes a number, not "abc"'],
    ["nothing for a number", ["--guidance_scale="], '--guidance_scale takes a number, not ""'],
    ["hexadecimal digits", ["--num_steps", "0x10"], '--num_steps takes a whole number from 1 to 1000, not "0x10"'],
    [
      "a list with a gap",
      ["--sigmas=1,,2"],
      '--sigmas takes a list of numbers of at least 0, separated by commas, not "1,,2"',
    ],
    ["an empty list", ["--sigmas="], '--sigmas takes a list of numbers of at least 0, separated by commas, not ""'],
    [
      "a list with a number below the limit",
      ["--sigmas", "1,-2"],
      "--sigmas takes a list of numbers of at least 0, not [1, -2]",
    ],
    [
      "a list with a number too large for any",
      ["--sigmas=1e999"],
      "--sigmas takes a list of numbers of at least 0, not [Infinity]",
    ],
    ["an unknown choice in a list", ["--made=none", "--made=pose"], '--made takes one of none, edges, not ["pose"]'],
    ["an unknown choice", ["--dtype", "int8"], '--dtype takes one of float32, bfloat16, not "int8"'],
    [
      "a seed of 65 bits",
      ["--seed", "18446744073709551616"],
      "--seed takes a whole number from 0 to 18446744073709551615, not 18446744073709551616",
    ],
    ["a negative seed", ["--seed", "-1"], "--seed takes a whole number from 0 to 18446744073709551615, not -1"],
    ["a name from every object", ["--constructor"], "unknown option --constructor"],
  ])("refuses %s", (_, argv, message) => {
    expect(usageError("--output_dir", "x", ...argv)).toBe(message);
  });

  it("names every option that is missing", () => {
    expect(usageError("--num_steps", "5")).toBe("--output_dir must be given");
  });

  it("either parses or is refused with a typed error", () => {
    const word = fc.oneof(
      fc.constantFrom("--", "--output_dir", "--seed=", "--no_progress", "-", "=", "--=", "--num-steps", "7"),
      fc.string(),
      fc.string().map((text) => `--${text}`),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
        try {
          parseArguments(options, argv);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_USAGE" });
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("round-trips every value that has a text form", () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes("\0")),
        fc.integer({ min: 1, max: 1000 }),
        // Minus zero is written as zero.
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x || 0),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        (outputDir, numSteps, guidanceScale, seed) => {
          const argv = [`--output-dir=${outputDir}`, "--num_steps", `${numSteps}`];
          const values = parseArguments(options, [...argv, "--guidance_scale", `${guidanceScale}`, `--seed=${seed}`]);
          expect(values).toMatchObject({ outputDir, numSteps, guidanceScale, seed });
        },
      ),
    );
  });
});

describe("options given by a program", () => {
  const invalid = (input: Record<string, unknown>) => {
    expect(() => resolveOptions(options, input)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
    try {
      resolveOptions(options, input);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };

  it("have the types and values of the command line's declarations", () => {
    const input: OptionInput<typeof options> = { outputDir: "x", seed: 7, dtype: "bfloat16", eta: undefined };
    const values: OptionValues<typeof options> = resolveOptions(options, input);
    const dtype: "float32" | "bfloat16" = values.dtype;
    const seed: bigint | undefined = values.seed;
    // @ts-expect-error: an option without a default may be undefined
    const eta: number = values.eta;
    // @ts-expect-error: the required option is missing
    const incomplete: OptionInput<typeof options> = { numSteps: 3 };
    // @ts-expect-error: not one of the choices
    const wrong: OptionInput<typeof options> = { outputDir: "x", dtype: "int8" };
    expect([dtype, seed, eta, values.numSteps, incomplete.numSteps, wrong.dtype]).toEqual([
      ...["bfloat16", 7n, undefined, 20, 3, "int8"],
    ]);
  });

  it.each([
    [{ outputDir: "x", numStep: 3 }, 'unknown option "numStep"; did you mean numSteps?'],
    [{ outputDir: "x", num_steps: 3 }, 'unknown option "num_steps"; did you mean numSteps?'],
    [{ outputDir: "x", numSteps: "3" }, 'numSteps takes a whole number from 1 to 1000, not "3"'],
    [{ outputDir: "x", numSteps: 0 }, "numSteps takes a whole number from 1 to 1000, not 0"],
    [{ outputDir: "x", guidanceScale: Number.NaN }, "guidanceScale takes a number, not NaN"],
    [{ outputDir: "x", use8bitAdam: 1 }, "use8bitAdam takes true or false, not 1"],
    [{ outputDir: "x", seed: 0.5 }, "seed takes a whole number from 0 to 18446744073709551615, not 0.5"],
    [{ outputDir: "x", dtype: "int8" }, 'dtype takes one of float32, bfloat16, not "int8"'],
    [{ outputDir: "x", nets: "a" }, 'nets takes a list of strings, not "a"'],
    [{ outputDir: "x", nets: [] }, "nets takes a list of strings, not []"],
    [{ outputDir: "x", nets: ["a", 1] }, 'nets takes a string, not ["a", 1]'],
    [{ outputDir: "x", sigmas: 3 }, "sigmas takes a list of numbers of at least 0, not 3"],
    [{ outputDir: "x", sigmas: [] }, "sigmas takes a list of numbers of at least 0, not []"],
    [{ outputDir: "x", sigmas: [1, "2"] }, 'sigmas takes a list of numbers of at least 0, not [1, "2"]'],
    [{ outputDir: null }, "outputDir takes a string, not null"],
    [{ outputDir: {} }, "outputDir takes a string, not an object"],
    [{ outputDir: "a\0b" }, 'outputDir takes a string without NUL characters, not "a\\u0000b"'],
    [{}, "outputDir must be given"],
  ])("are refused by name: %j", (input, message) => {
    expect(invalid(input)).toBe(message);
  });
});
