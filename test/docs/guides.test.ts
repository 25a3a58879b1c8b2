import { describe, expect, it } from "vitest";
import { camelCase } from "../../lib/options/names.js";
import { type Block, blocks } from "./pages.js";

const PAGES = ["docs/image-to-image.md", "docs/coming-from-diffusers.md"];

/** What a name in Python is called here, where that is more than camel case; null: it has no counterpart. */
const NAMES: Record<string, string | null> = {
  pipe: "run",
  pipeline: "run",
  prior: "run",
  super_res: "run",
  upscaler: "run",
  compel: "encodePrompt",
  Compel: "encodePrompt",
  to_tuple: null,
  use_safetensors: null,
  torch_dtype: "dtype",
  callback_on_step_end: "onStep",
  manual_seed: "Generator",
  print: "console.log",
  use_karras_sigmas: "use_karras_sigmas",
};

/** Functions that are called, and the names of keyword arguments. */
function names(python: string): string[] {
  const code = python.replaceAll(/"[^"]*"/g, '""');
  return [...code.matchAll(/(\w+)(?:\(|=(?=\S))/g)].map(([, name]) => name!);
}

describe.each(PAGES)("%s", (page) => {
  const all = blocks("python", "js").filter(({ where }) => where.startsWith(`${page}:`));
  const pairs = all.flatMap((block, i): [string, Block, Block | undefined][] =>
    block.language === "python" ? [[block.where, block, all[i + 1]]] : [],
  );

  it("has programs in both languages", () => expect(pairs.length).toBeGreaterThan(8));

  it.each(pairs)("%s says the same in both languages", (_, { code: python }, js) => {
    expect(js?.language).toBe("js");
    for (const name of names(python)) {
      const here = name in NAMES ? NAMES[name]! : camelCase(name);
      if (here !== null) expect(js!.code, name).toMatch(new RegExp(`\\b${here}\\b`));
    }
    for (const [literal] of python.matchAll(/"[^"]*"/g)) expect(js!.code).toContain(literal);
  });
});
