import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { read, root } from "./pages.js";

const PAGE = "docs/architecture.md";
const SOURCES = ["lib", "native", "scripts", "bench", "test", "examples", "docs", "web"];
const FILE = /\.(?:ts|mjs|cc|h|c|py|md|json)$/;

/** What is no name of the repository: JavaScript's and Node.js's, and programs. */
const FOREIGN = new Set(["node:vm", "nvidia-smi", "model_index.json"]);

const page = read(PAGE);
const [diagram] = /^```mermaid\n[\s\S]*?^```$/m.exec(page)!;
const prose = page.replace(diagram, "");
const quoted = [...new Set([...prose.matchAll(/`([^`]+)`/g)].map(([, text]) => text!))];

/** Every file and folder by its path; folders end with a slash. Folders without files do not count. */
const paths = SOURCES.flatMap((folder) => [`${folder}/`, ...below(folder)]);

function below(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (!entry.isDirectory()) return [path];
    // Recorded data are not described.
    const inside = entry.name === "fixtures" || entry.name === "node_modules" ? [] : below(path);
    return inside.length > 0 ? [`${path}/`, ...inside] : [];
  });
}

/** Whether a path, from the root or only its end, is there; `*` stands for any name. */
function there(name: string): boolean {
  const pattern = name.replaceAll(/[.+]/g, "\\$&").replaceAll("*", "[^/]*");
  const whole = new RegExp(`(?:^|/)${pattern}/?$`);
  return paths.some((path) => whole.test(path));
}

/** The code below these folders without comments, in which old names live on. */
function code(...folders: string[]): string {
  return paths
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)) && /\.(?:ts|cc|h)$/.test(path))
    .map((path) => read(path).replaceAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*/g, ""))
    .join("\n");
}

const isPath = (text: string) => /^[\w./*-]+$/.test(text) && (FILE.test(text) || text.includes("/"));

describe("docs/architecture.md", () => {
  it.each(quoted.filter((text) => isPath(text) && !FOREIGN.has(text)))("names %s, which is there", (path) => {
    expect(there(path)).toBe(true);
  });

  it("names only what the code has", () => {
    const words = new Set(code("lib", "native").match(/\w+/g));
    for (const text of quoted.filter((each) => !isPath(each) && !FOREIGN.has(each))) {
      // Paths and flags of commands have tests of their own.
      if (/^(?:npm|node) /.test(text)) {
        for (const path of text.split(" ").filter(isPath)) expect(existsSync(join(root, path)), text).toBe(true);
        continue;
      }
      for (const [word] of text.matchAll(/\w+/g)) {
        const known = text.startsWith("…") ? [...words].some((each) => each.endsWith(word)) : words.has(word);
        expect(known, `\`${text}\`: ${word}`).toBe(true);
      }
    }
  });

  it("names the files that symbols are in", () => {
    const places = [...prose.matchAll(/`([\w:.]+)`\s+\((?:`[\w:.]+`,\s+)?`((?:lib|native)\/[\w./-]+\.\w+)`\)/g)];
    expect(places.length).toBeGreaterThan(15);
    for (const [, symbol, path] of places)
      for (const word of symbol!.split(/::|\./)) expect(read(path!), `${symbol} in ${path}`).toMatch(word);
  });

  it("draws all folders, and only those that there are", () => {
    const drawn = [...diagram.matchAll(/\b(?:lib|native)\/[\w./-]+/g)].map(([path]) => path);
    for (const path of drawn) expect(there(path) || there(`${path}.h`), path).toBe(true);
    const described = new Set([...drawn, ...[...prose.matchAll(/`((?:lib|native)\/\w+)/g)].map(([, path]) => path!)]);
    for (const path of paths.filter((each) => /^(?:lib|native)\/[^/]+\/$/.test(each)))
      expect(described, `a place for ${path}`).toContain(path.slice(0, -1));
  });
});
