import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../lib/cli/commands.js";
import { commandLineReference, readmeWithOptions } from "../../lib/cli/reference.js";
import * as exported from "../../lib/index.js";
import { parseArguments } from "../../lib/options/parse.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8");
const pages = ["README.md", "CHANGELOG.md", "docs/architecture.md", "docs/cli.md", "docs/data-sets.md"];
const remedy = "run `node scripts/write-docs.mjs`";

/** The fenced blocks of a language. */
function blocks(markdown: string, language: string): string[] {
  return [...markdown.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, code]) => code!);
}

/** The words of a line for a shell, as far as these pages quote. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c!);
}

describe("the documentation", () => {
  it(`says of the command line what its declarations say (else ${remedy})`, async () => {
    expect(read("docs/cli.md")).toBe(await commandLineReference());
    expect(read("README.md")).toBe(readmeWithOptions(read("README.md")));
  });

  it("gives only commands that the command line understands", async () => {
    const help = await Promise.all(COMMANDS.map(async ({ load }) => (await load()).examples ?? []));
    const lines = pages
      .flatMap((page) => blocks(read(page), "sh"))
      .flatMap((code) => code.replaceAll("\\\n", "").split("\n"))
      .concat(...help)
      .map((line) => words(line.replace(/(^|\s)#.*/, "")))
      .flatMap((line) => (line[0] === "npx" ? [line.slice(1)] : [line]))
      // Usage lines are generated, and name values instead of giving them.
      .filter((line) => line[0] === "ip2p" && line.at(-1) !== "[options]");
    expect(lines.length).toBeGreaterThanOrEqual(5);
    for (const [, name, ...argv] of lines) {
      const entry = COMMANDS.find((command) => command.name === name);
      expect(entry, name).toBeDefined();
      const { options } = await entry!.load();
      expect(() => parseArguments(options, argv), argv.join(" ")).not.toThrow();
    }
  });

  it("names only flags that there are", async () => {
    const known = new Set(["--help", "--version"]);
    for (const { load } of COMMANDS)
      for (const [name, { type }] of Object.entries((await load()).options)) {
        known.add(`--${name}`);
        if (type === "boolean") known.add(`--no_${name}`);
      }
    // What follows `npm run` belongs to a script, which knows flags of its own.
    for (const page of pages)
      for (const [flag] of read(page)
        .replace(/npm run .*/g, "")
        .matchAll(/(?<=[\s`(])--[a-z]\w+/g))
        expect(known, `${page}: ${flag}`).toContain(flag);
  });

  it("imports only what is exported", () => {
    const names = blocks(read("README.md"), "js")
      .flatMap((code) => [...code.matchAll(/import \{([^}]+)\} from "instruct-pix2pix"/g)])
      .flatMap(([, list]) => list!.split(","))
      .map((name) => name.trim());
    expect(names.length).toBeGreaterThan(5);
    for (const name of names) expect(exported, name).toHaveProperty(name);
  });

  it("names only files and npm scripts that there are", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    for (const page of pages) {
      const text = read(page);
      for (const [path] of text.matchAll(/(?<=`)(?:lib|native|scripts|test|docs)\/[\w./-]+(?=`)/g))
        expect(existsSync(`${root}/${path}`) || existsSync(`${root}/${path}.h`), `${page}: ${path}`).toBe(true);
      for (const [, path] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g))
        expect(existsSync(`${root}/${page.startsWith("docs/") ? "docs/" : ""}${path}`), `${page}: ${path}`).toBe(true);
      for (const [, name] of text.matchAll(/npm run ([\w:]+)/g)) expect(scripts, page).toHaveProperty(name!);
    }
  });
});
