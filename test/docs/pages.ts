import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** Everything that is written for users, by its path in the repository. */
export const PAGES = [
  ...["README.md", "CHANGELOG.md", "models/photo/README.md", "models/tiny/README.md"],
  ...["examples/README.md", "examples/server/README.md"],
  ...readdirSync(`${root}/docs`)
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

export function read(path: string): string {
  return readFileSync(`${root}/${path}`, "utf8");
}

/** A fenced piece of a page. */
export interface Block {
  language: string;
  code: string;
  /** Page and line, for messages. */
  where: string;
}

/** All fenced blocks of all pages, or those of some languages. */
export function blocks(...languages: string[]): Block[] {
  const all = PAGES.flatMap((page) => {
    const text = read(page);
    return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(({ 1: language, 2: code, index }) => ({
      language: language!,
      code: code!,
      where: `${page}:${text.slice(0, index).split("\n").length}`,
    }));
  });
  return languages.length === 0 ? all : all.filter(({ language }) => languages.includes(language));
}

/** A line for a shell, without comments. */
export interface Command {
  /** As far as these pages quote, without variables and without npx. */
  words: string[];
  text: string;
  where: string;
}

/** The commands of a block, one for each line that does not go on, or part of a line between `&&`. */
export function commands({ code, where }: Block): Command[] {
  return code
    .replaceAll(/\\\n\s*/g, "")
    .split(/\n| && /)
    .map((line) => line.replace(/(^|\s)#.*/, "").trim())
    .filter((line) => line !== "")
    .map((text) => {
      const words = [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c!);
      while (/^[A-Z0-9_]+=/.test(words[0]!) || words[0] === "npx") words.shift();
      return { text, where, words };
    });
}
