import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { LIBTORCH_VERSION } from "../../lib/runtime/version.js";
import { writeTree } from "../runtime/libtorch/fixtures.js";
import { repository } from "./published.js";
import { LocalRegistry } from "./registry.js";
import { type RunResult, runAnyhow } from "./run.js";

const { packageProblems } = await import(join(repository, "scripts", "package", "checks.mjs"));

const TARGET = "x86_64-unknown-linux-gnu";
const ABI = "linux-x64-gnu";

/** A repository that could be released at once, with the real binaries of this clone's build. */
class Repository {
  readonly folder = mkdtempSync(join(tmpdir(), "ip2p-release-test-"));
  readonly artifacts = mkdtempSync(join(tmpdir(), "ip2p-artifacts-"));

  constructor() {
    onTestFinished(() => {
      for (const folder of [this.folder, this.artifacts]) rmSync(folder, { recursive: true });
    });
    const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));
    const files = ["dist", "native", "models", "CMakeLists.txt", "CHANGELOG.md"];
    writeTree(this.folder, {
      "package.json": JSON.stringify({ ...manifest, files, version: "1.2.3" }),
      "package-lock.json": JSON.stringify({ version: "1.2.3", packages: { "": { version: "1.2.3" } } }),
      "CHANGELOG.md": "# Changelog\n\n## 1.2.3\n\n- Something.\n\n## 1.2.2\n\n- Something else.\n",
      "README.md": "# A package\n",
      LICENSE: "A license\n",
      "CMakeLists.txt": "",
      "native/addon.cc": "",
      "models/tiny/model_index.json": "{}",
      "models/photo/model_index.json": "{}",
      "dist/index.js": "",
      "dist/web/index.html": "",
      "dist/cli/main.js": "#!/usr/bin/env node\n",
      ".gitignore": "dist/\ndist-packages/\n",
    });
    this.git("init", "--quiet");
    this.commit();
    for (const name of ["ip2p", "ip2p_preload"])
      copyFileSync(join(repository, "build", "Release", `${name}.node`), this.artifact(`${name}.${ABI}.node`));
    this.describeBuild({});
  }

  git(...args: string[]): string {
    const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    return execFileSync("git", [...identity, ...args], { cwd: this.folder, encoding: "utf8" }).trim();
  }

  commit(): void {
    this.git("add", "--all");
    this.git("commit", "--quiet", "--message", "A commit");
  }

  artifact(name: string): string {
    writeTree(this.artifacts, { [`${ABI}/.folder`]: "" });
    return join(this.artifacts, ABI, name);
  }

  describeBuild(more: object): void {
    const build = {
      libtorch: LIBTORCH_VERSION,
      variant: "cpu",
      commit: this.git("rev-parse", "HEAD"),
      version: "1.2.3",
    };
    writeFileSync(this.artifact("build.json"), JSON.stringify({ ...build, ...more }));
  }

  /** Changes files and commits them; the build is then of the new commit. */
  change(files: Record<string, string>): void {
    writeTree(this.folder, files);
    this.commit();
    this.describeBuild({});
  }

  release(...args: string[]): Promise<RunResult> {
    const script = join(repository, "scripts", "release.mjs");
    const all = ["--root", this.folder, "--artifacts", this.artifacts, "--targets", TARGET, ...args];
    return runAnyhow(process.execPath, [script, ...all]);
  }
}

/** Each possible inconsistency, and its message. */
const inconsistencies: [what: string, (repository: Repository) => void, reason: RegExp][] = [
  [
    "a dirty tree",
    ({ folder }) => writeTree(folder, { "native/addon.cc": "//" }),
    /working tree differs.*native\/addon\.cc/,
  ],
  [
    "an existing tag",
    (r) => {
      r.git("tag", "v1.2.3");
      r.change({ "native/addon.cc": "// more" });
    },
    /the tag v1\.2\.3 exists already, at another commit/,
  ],
  [
    "another version in the lockfile",
    (r) => r.change({ "package-lock.json": '{"version":"1.2.2","packages":{"":{"version":"1.2.2"}}}' }),
    /package-lock\.json has version 1\.2\.2, package\.json 1\.2\.3/,
  ],
  [
    "a changelog of another version",
    (r) => r.change({ "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n- a\n" }),
    /newest version in CHANGELOG\.md is Unreleased, not 1\.2\.3/,
  ],
  ["an empty changelog", (r) => r.change({ "CHANGELOG.md": "## 1.2.3\n\n## 1.2.2\n- a\n" }), /has no text for 1\.2\.3/],
  ["changes without a version", (r) => r.change({ ".changeset/a.md": "a" }), /changesets have not been applied: a\.md/],
  [
    "a build of another version",
    (r) => r.describeBuild({ version: "1.2.2" }),
    /built for version 1\.2\.2, not 1\.2\.3/,
  ],
  ["a build of another commit", (r) => r.describeBuild({ commit: "abc" }), /built from abc, not from [0-9a-f]{40}/],
  [
    "a build with changes",
    (r) => r.describeBuild({ commit: `${r.git("rev-parse", "HEAD")}-dirty` }),
    /built from \w+-dirty, not/,
  ],
  [
    "another libtorch",
    (r) => r.describeBuild({ libtorch: "2.12.1" }),
    /built against libtorch 2\.12\.1, releases are for/,
  ],
  [
    "a missing file of a build",
    (r) => rmSync(r.artifact(`ip2p_preload.${ABI}.node`)),
    /missing from .*linux-x64-gnu: ip2p_preload\.linux-x64-gnu\.node/,
  ],
  [
    "a symbol that older systems lack",
    (r) => compile(r, "double f(double x) { return pow(x, 1.5); }"),
    /older systems lack pow \(GLIBC_2\.29\)/,
  ],
  [
    "a library that other systems lack",
    (r) => compile(r, "int f(void) { return 0; }", "-Wl,--no-as-needed", "-lgomp"),
    /it needs libgomp\.so\.1/,
  ],
  [
    "a path of this machine",
    (r) => compile(r, "int f(void) { return 0; }", "-Wl,-rpath,/opt/lib"),
    /looks for libraries in \/opt\/lib/,
  ],
  [
    "too big a package",
    (r) => {
      writeFileSync(join(r.folder, "models", "big"), randomBytes(25_000_000));
      r.commit();
      r.describeBuild({});
    },
    /has \d+ bytes, the limit is 25000000/,
  ],
  [
    "a binding.gyp",
    (r) => {
      const m = JSON.parse(readFileSync(join(r.folder, "package.json"), "utf8"));
      r.change({ "package.json": JSON.stringify({ ...m, files: [...m.files, "binding.gyp"] }), "binding.gyp": "{}" });
    },
    /contains binding\.gyp/,
  ],
];

/** Puts another library in the place of the addon. */
function compile(r: Repository, source: string, ...options: string[]): void {
  const file = join(r.artifacts, "f.c");
  writeFileSync(file, `#include <math.h>\n${source}\n`);
  execFileSync("cc", ["-shared", "-fPIC", file, "-o", r.artifact(`ip2p.${ABI}.node`), ...options, "-lm"]);
}

describe.runIf(process.platform === "linux" && process.arch === "x64")("a release", () => {
  it("is prepared and not published; then published on request, the platform package first", async () => {
    const ready = new Repository();
    ready.git("tag", "v1.2.3");
    const { status, stdout, stderr } = await ready.release("--without-cuda", "--dry-run");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(
      /npm publish .*native-linux-x64-gnu-1\.2\.3\.tgz .*\nnpm publish .*instruct-pix2pix-1\.2\.3\.tgz /,
    );
    expect(stdout).toContain("nothing was published");
    const out = join(ready.folder, "dist-packages");
    const sums = execFileSync("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: out, encoding: "utf8" });
    expect(sums).toMatch(/^\S*native-linux-x64-gnu-1\.2\.3\.tgz: OK\ninstruct-pix2pix-1\.2\.3\.tgz: OK\n$/);

    const registry = await LocalRegistry.start();
    onTestFinished(() => registry.stop());
    writeFileSync(join(ready.folder, "dist", "index.js"), "export {};\n");
    const { host } = new URL(registry.url);
    const npmrc = join(ready.artifacts, "npmrc");
    writeFileSync(npmrc, `registry=${registry.url}\n//${host}/:_authToken=none\n`);
    process.env.npm_config_userconfig = npmrc;
    onTestFinished(() => {
      delete process.env.npm_config_userconfig;
    });
    expect(await ready.release("--without-cuda", "--publish")).toMatchObject({ status: 0 });
    expect(registry.published).toEqual(["@instruct-pix2pix/native-linux-x64-gnu@1.2.3", "instruct-pix2pix@1.2.3"]);
  });

  it.each(inconsistencies)("is refused for %s", async (_what, bring, reason) => {
    const broken = new Repository();
    bring(broken);
    const { status, stdout, stderr } = await broken.release("--without-cuda");
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^release: refused\n/);
    expect(stderr).toMatch(reason);
  });

  it("is refused with binaries for another processor, and takes linux-arm64 without a CUDA library", async () => {
    const broken = new Repository();
    const abi = "linux-arm64-gnu";
    for (const name of ["ip2p", "ip2p_preload"])
      writeTree(broken.artifacts, {
        [`${abi}/${name}.${abi}.node`]: readFileSync(broken.artifact(`${name}.${ABI}.node`)),
      });
    writeTree(broken.artifacts, { [`${abi}/build.json`]: readFileSync(broken.artifact("build.json")) });
    const { status, stderr } = await broken.release("--targets", "aarch64-unknown-linux-gnu");
    expect(status).toBe(1);
    expect(stderr).toMatch(/ip2p\.linux-arm64-gnu\.node: it is for .*X86-64, not for AArch64/);
    expect(stderr).not.toMatch(/CUDA/);
  });

  it("is refused without the CUDA library, and without the builds of other platforms, all at once", async () => {
    const { status, stderr } = await new Repository().release("--targets", `${TARGET},aarch64-apple-darwin`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/linux-x64-gnu: the CUDA library is missing/);
    expect(stderr).toMatch(
      /darwin-arm64: missing from .*darwin-arm64: ip2p\.darwin-arm64\.node, ip2p_preload\.darwin-arm64\.node, build\.json/,
    );
  });

  it("is refused for packages that do not fit each other", () => {
    const manifest = { os: ["linux"], cpu: ["x64"], libc: ["glibc"] };
    const name = `@instruct-pix2pix/native-${ABI}`;
    const { version } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));
    const files = [
      "dist/index.js",
      "dist/cli/main.js",
      "dist/web/index.html",
      "CMakeLists.txt",
      "models/tiny/model_index.json",
      "models/photo/model_index.json",
    ];
    const problems = (root: object, platform: object) =>
      packageProblems({
        root: repository,
        targets: [TARGET],
        packages: {
          root: {
            name: "instruct-pix2pix",
            version,
            files,
            size: 1,
            manifest: { optionalDependencies: { [name]: version }, ...root },
          },
          platforms: [{ name, version, files: [], size: 1, manifest: { ...manifest, name }, ...platform }],
        },
      });
    expect(problems({}, {})).toEqual([]);
    expect(problems({ optionalDependencies: { [name]: `^${version}` } }, {})).toEqual([
      expect.stringMatching(/the dependency on .* is \^/),
    ]);
    expect(problems({ optionalDependencies: {} }, {})).toEqual([expect.stringMatching(/is missing and must be/)]);
    expect(problems({ scripts: { postinstall: "x" } }, {})).toEqual([
      expect.stringMatching(/runs at installation: postinstall/),
    ]);
    expect(problems({}, { version: "9.9.9" })).toEqual([expect.stringMatching(/is version 9\.9\.9, not/)]);
    expect(problems({}, { manifest: { ...manifest, name, cpu: undefined } })).toEqual([
      expect.stringMatching(/names no os or cpu/),
    ]);
    expect(problems({}, { manifest: { ...manifest, name, libc: undefined } })).toEqual([
      expect.stringMatching(/native-linux-x64-gnu is not limited to glibc/),
    ]);
  });
});
