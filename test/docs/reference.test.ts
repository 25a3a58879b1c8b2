import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../lib/cli/commands.js";
import * as index from "../../lib/index.js";
import { PAGES, read, root } from "./pages.js";

/** Pages that name flags of programs beside `ip2p`. */
const OTHER_PROGRAMS = [
  "docs/performance.md",
  "docs/gpu.md",
  "docs/packaging.md",
  "docs/deployment.md",
  "docs/distributed.md",
  "models/photo/README.md",
  "models/tiny/README.md",
];

/** What would change the machine that the example runs on. */
const NO_EXAMPLE = ["installLibtorch"];

describe("the documentation", () => {
  it("repeats what the declarations and docstrings of the code say", () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, "scripts/write-docs.mjs"), "--check"], {
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  }, 600_000);

  it("describes inherited members with every pipeline, by its own types", () => {
    const api = read("docs/api.md");
    const sections = api.split(/^### /m).filter((each) => /^\w+Pipeline\n\n(?!Another name)/.test(each));
    const names = sections.map((each) => each.split("\n", 1)[0]!).filter((name) => name !== "DiffusionPipeline");
    expect(names.length).toBeGreaterThan(3);
    for (const name of names) {
      const section = sections.find((each) => each.startsWith(`${name}\n`))!;
      const from = `${name}.fromPretrained(pathOrId: string, options?: LoadOptions<`;
      expect(section, name).toMatch(new RegExp(`${from.replaceAll(/[.?()]/g, "\\$&")}\\w+>\\): Promise<${name}>`));
      for (const member of [
        `new ${name}(components: `,
        `${name}.fromPipe(`,
        "to(device: string)",
        "enableModelCpuOffload(",
        "dispose()",
      ])
        expect(section, name).toContain(`| \`${member}`);
    }
  });

  it("shows how each function and class is used, and says what each type is", () => {
    const sections = read("docs/api.md").split(/^### /m).slice(1);
    const places = new Map(sections.map((text) => [text.split("\n", 1)[0]!, text]));
    // Constants that are lists explain themselves.
    const used = Object.entries(index).flatMap(([name, value]) => (typeof value === "function" ? [name] : []));
    expect(used.length).toBeGreaterThan(80);
    const shown = (text: string) => /^```(?:js|ts)\b|^Another name of /m.test(text);
    const without = used.filter((name) => !shown(places.get(name)!));
    expect(without.filter((name) => !NO_EXAMPLE.includes(name))).toEqual([]);
    for (const [name, text] of places) expect(text, name).toMatch(/^.*\n\n(?:```text\n[\s\S]*?\n```\n\n)?[A-Z"'`[]/);
  });

  it("names only existing flags", async () => {
    const known = new Set(["--help", "--version"]);
    for (const { load } of COMMANDS)
      for (const [name, { type }] of Object.entries((await load()).options)) {
        known.add(`--${name}`);
        if (type === "boolean") known.add(`--no_${name}`);
      }
    // Arguments after `npm run` belong to a script with its own flags.
    for (const page of PAGES.filter((each) => !OTHER_PROGRAMS.includes(each)))
      for (const [flag] of read(page)
        .replace(/npm run .*/g, "")
        .matchAll(/(?<=[\s`(])--[a-z]\w+/g))
        expect(known, `${page}: ${flag}`).toContain(flag);
  });

  it("names only existing files, pages and npm scripts", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    for (const page of PAGES) {
      const text = read(page);
      const there = (path: string) => existsSync(join(root, path)) || existsSync(join(root, `${path}.h`));
      for (const [path] of text.matchAll(/(?<=`)(?:lib|native|scripts|test|docs|bench|examples)\/[\w./-]+(?=`)/g))
        expect(there(path), `${page}: ${path}`).toBe(true);
      for (const [, link, heading] of text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)) {
        const path = link === "" ? page : normalize(join(dirname(page), link!));
        expect(there(path), `${page}: ${link}`).toBe(true);
        const headings = heading && [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, words]) => anchor(words!));
        if (headings) expect(headings, `${page}: ${link}#${heading}`).toContain(heading);
      }
      for (const [, name] of text.matchAll(/npm run ([\w:]+)/g)) expect(scripts, page).toHaveProperty(name!);
    }
  });
});

/** The anchor of a heading in a link. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}
