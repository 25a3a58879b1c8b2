import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { temporaryFolder } from "../runtime/libtorch/fixtures.js";
import { repository } from "./published.js";

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
}

interface Job {
  steps: Step[];
  needs?: string;
  if?: string;
  environment?: string;
  permissions?: Record<string, string>;
  outputs?: Record<string, string>;
}

const folder = join(repository, ".github", "workflows");
const texts = Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));
const { jobs, permissions } = parse(texts["release.yml"]!) as { jobs: Record<string, Job>; permissions: object };
const publish = jobs.publish!;
const steps = Object.values(jobs).flatMap((job) => job.steps);

/** Files of this repository that install packages. */
const installers = [
  ...Object.values(texts),
  ...["scripts/setup.mjs", "scripts/release.mjs", "package.json", ".ci/run"].map((path) =>
    readFileSync(join(repository, path), "utf8"),
  ),
];

describe("the release workflow", () => {
  it("pins each action to a commit, with its release in a comment", () => {
    for (const text of Object.values(texts))
      for (const line of text.split("\n").filter((each) => /\buses:/.test(each)))
        expect(line).toMatch(/^ +- uses: [\w.-]+\/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    expect(steps.filter(({ uses }) => uses).length).toBeGreaterThan(5);
  });

  it("uses no secret, and gives only the publishing job an identity token", () => {
    for (const text of Object.values(texts)) expect(text).not.toMatch(/secrets\.|_TOKEN\b|_authToken|\.npmrc/);
    expect(permissions).toEqual({ contents: "read" });
    const privileged = Object.entries(jobs).filter(([, job]) => job.permissions !== undefined);
    expect(privileged.map(([name]) => name)).toEqual(["publish"]);
    expect(publish).toMatchObject({ permissions: { "id-token": "write" }, environment: "npm", needs: "pack" });
    expect(Object.keys(publish.permissions!)).toEqual(["id-token"]);
    expect(publish.if).toBe("github.event_name == 'push' && github.ref_type == 'tag'");
    expect(steps.filter(({ run }) => /npm publish/.test(run ?? ""))).toEqual([publish.steps.at(-1)]);
    for (const { uses, with: options } of steps)
      if (uses?.startsWith("actions/checkout@")) expect(options).toMatchObject({ "persist-credentials": false });
  });

  it("installs packages without their scripts", () => {
    for (const text of installers)
      for (const [line] of text.matchAll(/.*(?:\bnpm (?:ci|i|install)\b|\["(?:ci|install)").*/g))
        if (!/^\s*(?:\/\/|#)|say\(|SetupError/.test(line)) expect(line).toContain("--ignore-scripts");
  });

  it("publishes without running code of the project, from the tarballs and their hashes", () => {
    const used = publish.steps.map(({ uses, run }) => uses?.replace(/@.*/, "") ?? run);
    expect(used.slice(0, 2)).toEqual(["actions/download-artifact", "actions/setup-node"]);
    expect(publish.steps[0]!.with).toMatchObject({ name: "tarballs" });
    for (const { run = "" } of publish.steps)
      expect(run).not.toMatch(/\b(?:node|npx|npm (?!publish\b)|git|curl|\.mjs)\b/);
    expect(jobs.pack!.outputs!.manifest).toMatch(/^\$\{\{ steps\.manifest\.outputs\.sha256 \}\}$/);
    expect(publish.steps[2]!.env!.MANIFEST).toMatch(/^\$\{\{ needs\.pack\.outputs\.manifest \}\}$/);
  });

  it.runIf(process.platform === "linux")("publishes what was packed, in that order, and nothing else", () => {
    const files = { "native-1.0.0.tgz": "the addon", "root-1.0.0.tgz": "the package" };
    const sha256 = (content: string) => createHash("sha256").update(content).digest("hex");
    const sums = Object.entries(files).map(([name, content]) => `${sha256(content)}  ${name}\n`);
    const attempt = (change: (at: string) => void) => {
      const at = temporaryFolder();
      for (const [name, content] of Object.entries({ ...files, SHA256SUMS: sums.join("") }))
        writeFileSync(join(at, name), content);
      change(at);
      const [bin, log] = [temporaryFolder(), join(temporaryFolder(), "log")];
      writeFileSync(join(bin, "npm"), `#!/bin/sh\necho "$@" >> ${log}\n`);
      chmodSync(join(bin, "npm"), 0o755);
      const env = { PATH: `${bin}:${process.env.PATH}`, MANIFEST: sha256(sums.join("")) };
      let failed = false;
      for (const { run } of publish.steps)
        try {
          // As the workflow's shell does, a step that fails ends the job.
          if (run && !failed) execFileSync("bash", ["-eo", "pipefail", "-c", run], { cwd: at, env, stdio: "ignore" });
        } catch {
          failed = true;
        }
      return { failed, published: existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [] };
    };
    const options = "--provenance --access public --ignore-scripts";
    expect(attempt(() => {})).toEqual({
      failed: false,
      published: [`publish ./native-1.0.0.tgz ${options}`, `publish ./root-1.0.0.tgz ${options}`],
    });
    const nothing = { failed: true, published: [] };
    expect(attempt((at) => writeFileSync(join(at, "root-1.0.0.tgz"), "another"))).toEqual(nothing);
    expect(attempt((at) => rmSync(join(at, "root-1.0.0.tgz")))).toEqual(nothing);
    expect(attempt((at) => writeFileSync(join(at, "SHA256SUMS"), sums[1]!))).toEqual(nothing);
    expect(
      attempt((at) => {
        writeFileSync(join(at, "root-1.0.0.tgz"), "another");
        writeFileSync(join(at, "SHA256SUMS"), `${sums[0]}${sha256("another")}  root-1.0.0.tgz\n`);
      }),
    ).toEqual(nothing);
    expect(attempt((at) => writeFileSync(join(at, "more.tgz"), "more")).published).toHaveLength(2);
  });
});
