import { describe, expect, it } from "vitest";
import { declareOptions } from "../../lib/options/declaration.js";
import { listOptions, usageLine, wrap } from "../../lib/options/help.js";
import { optionTables } from "../../lib/options/markdown.js";

const options = declareOptions({
  seed: { type: "bigint", min: 0, max: 9, help: "of the noise" },
  output: { type: "string", value: "FILE", required: true, help: "where the image goes" },
  dtype: { type: "string", choices: ["float32", "bfloat16"], default: "float32", help: "the type", group: "Computing" },
  progress: { type: "boolean", default: true, help: "do not show progress" },
});

describe("help", () => {
  it("lists required options first, then groups, with limits and defaults", () => {
    expect(listOptions(options, 80).split("\n")).toEqual([
      "Required:",
      "  --output FILE             where the image goes",
      "",
      "Options:",
      "  --seed N                  of the noise (from 0 to 9)",
      "  --no_progress             do not show progress",
      "",
      "Computing:",
      "  --dtype float32|bfloat16  the type (default float32)",
    ]);
  });

  it("wraps at the width of the terminal", () => {
    const help = "a sentence of many words that goes on and on until it has to be broken somewhere";
    const long = declareOptions({ name_of_an_option: { type: "string", help } });
    for (const columns of [50, 60, 80, 100]) {
      const lines = listOptions(long, columns).split("\n");
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
      expect(lines.slice(1).join(" ").replace(/\s+/g, " ")).toContain(help);
    }
  });

  it("does not break words", () => {
    expect(wrap("aaaa bb cccccccccc d", 6)).toEqual(["aaaa", "bb", "cccccccccc", "d"]);
  });

  it("shows required options in the usage line", () => {
    expect(usageLine("ip2p edit", options)).toBe("ip2p edit --output FILE [options]");
  });

  it("renders as tables for the documentation, with vertical bars escaped", () => {
    expect(optionTables(options)).toContain("| `--dtype float32\\|bfloat16` | the type (default float32) |");
    expect(optionTables(options)).toContain("### Required\n\n| option | |\n| --- | --- |\n| `--output FILE` |");
  });
});
