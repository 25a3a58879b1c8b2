import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { read, root } from "./pages.js";

/** Variables of the system that a reader need not set, and parts of code that look like one. */
const NOT_LISTED = new Set(["PATH"]);

function sources(folder: string, ending: RegExp): string {
  return readdirSync(join(root, folder), { recursive: true })
    .map(String)
    .filter((name) => ending.test(name))
    .map((name) => read(`${folder}/${name}`))
    .join("\n");
}

/** The variables that the code reads, in capitals. */
const used = new Set([
  ...[...sources("lib", /\.ts$/).matchAll(/\benv\??\.([A-Za-z]\w*_\w+|[A-Z][A-Z\d]+)\b/g)].map(([, name]) => name!),
  ...[...sources("native", /\.(?:cc|h)$/).matchAll(/getenv\("(\w+)"\)/g)].map(([, name]) => name!),
]);

const listed = new Set(
  read("docs/environment.md")
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .flatMap((line) => [...line.matchAll(/`([A-Z][A-Z\d]*(?:_[A-Z\d]+)*)`/g)].map(([, name]) => name!)),
);

it("lists every environment variable that is read, and only those", () => {
  const names = [...used].map((name) => name.toUpperCase()).filter((name) => !NOT_LISTED.has(name));
  expect(names.length).toBeGreaterThan(40);
  expect(names.filter((name) => !listed.has(name))).toEqual([]);
  const known = new Set(names);
  expect([...listed].filter((name) => !known.has(name))).toEqual([]);
});
