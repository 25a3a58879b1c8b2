import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path/posix";
import { expect, it } from "vitest";
import { repository } from "./published.js";
import { npmProgram, run } from "./run.js";

it("every link of a page in the package leads to a file in the package", async () => {
  const args = [await npmProgram(), "pack", "--dry-run", "--json", "--ignore-scripts"];
  const { stdout } = await run(process.execPath, args, { cwd: repository });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const packed = files.map(({ path }) => path);
  const pages = packed.filter((path) => /\.md$/.test(path) && !path.startsWith("dist/"));
  expect(pages).toEqual(
    expect.arrayContaining(["README.md", "docs/api.md", "docs/cli.md", "examples/server/README.md"]),
  );
  const dead: string[] = [];
  for (const page of pages)
    for (const [, link] of readFileSync(`${repository}/${page}`, "utf8").matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g)) {
      const target = join(page, "..", link!).replace(/\/$/, "");
      const there = packed.includes(target) || packed.some((path) => path.startsWith(`${target}/`));
      if (!there) dead.push(`${page}: ${link}${existsSync(`${repository}/${target}`) ? " (not in the package)" : ""}`);
    }
  expect(dead).toEqual([]);
});
