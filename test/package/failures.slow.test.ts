// Messages of incomplete installations: each state is produced, and the message checked.

import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, it } from "vitest";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { libtorchFiles, writeTree } from "../runtime/libtorch/fixtures.js";
import { layouts, Project } from "./layouts.js";
import { type Published, publish } from "./published.js";
import { bareEnvironment } from "./run.js";

const PLATFORM = "@instruct-pix2pix/native-linux-x64-gnu";

let published: Published;
let env: NodeJS.ProcessEnv;
/** Whole but for libtorch. */
let whole: Project;
/** Without the platform package. */
let omitted: Project;

beforeAll(async () => {
  published = await publish();
  env = bareEnvironment(published.folder, { INSTRUCT_PIX2PIX_CACHE: join(published.folder, "cache") });
  whole = new Project(join(published.folder, "whole"), layouts.npm, env);
  await whole.add(published.registry.url, "instruct-pix2pix");
  omitted = new Project(join(published.folder, "omitted"), layouts.npm, env);
  await omitted.add(published.registry.url, "instruct-pix2pix", "--omit=optional");
  for (const project of [whole, omitted])
    await sharp({ create: { width: 64, height: 64, channels: 3, background: "#7ac" } }).toFile(project.at("in.png"));
  return () => published.remove();
}, 600_000);

const edit = [
  "edit",
  "--image",
  "in.png",
  "--prompt",
  "make it winter",
  "--output",
  "out.png",
  "--num_inference_steps",
  "1",
];

/** Runs the command with more environment; the error must be our own, with nothing else printed. */
async function failureOf(project: Project, more: NodeJS.ProcessEnv, args = edit): Promise<string> {
  const { status, stdout, stderr } = await project.with(more).ip2pAnyhow(...args);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).not.toMatch(/^ +at |internal error/m);
  return stderr;
}

/** The code of the error that a program gets. */
const codeOf = async (project: Project, more: NodeJS.ProcessEnv) =>
  project.with(more).node(
    "code.mjs",
    `import { InstructPix2PixPipeline, builtInModel } from "instruct-pix2pix";
     const error = await InstructPix2PixPipeline.fromPretrained(builtInModel).catch((error) => error);
     console.log(error.name, error.code);`,
  );

const real = () => ({ LIBTORCH: resolveLibtorch().root });

describe.runIf(process.platform === "linux" && process.arch === "x64")("an installation", () => {
  it("that is whole loads", async () => {
    const { stdout } = await whole.with(real()).ip2p(...edit);
    expect(stdout).not.toBe("");
  });

  it("without libtorch: every path that was tried, and the one command that fixes it", async () => {
    const message = await failureOf(whole, {});
    expect(message).toMatch(/^ip2p: libtorch was not found; run `npx ip2p install` to fetch it into the cache$/m);
    for (const tried of ["the libtorch option: not given", "LIBTORCH: not set", "LIBTORCH_USE_PYTORCH: not set"])
      expect(message).toContain(tried);
    expect(message).toContain(`${join(published.folder, "cache", "libtorch")}: does not exist`);
    expect(await codeOf(whole, {})).toBe("InstructPix2PixError ERR_LIBTORCH_NOT_FOUND");
  });

  it("with another libtorch than the addon was built against: both versions, and the way past the check", async () => {
    const other = writeTree(join(published.folder, "other"), libtorchFiles("2.12.1+cpu"));
    const message = await failureOf(whole, { LIBTORCH: other });
    expect(message).toMatch(/built against libtorch 2\.13\.0, but libtorch 2\.12\.1\+cpu was found at .*other/);
    expect(message).toMatch(/`npx ip2p build`.*`npx ip2p install`.*LIBTORCH_BYPASS_VERSION_CHECK=1/);
    expect(await codeOf(whole, { LIBTORCH: other })).toBe("InstructPix2PixError ERR_LIBTORCH_VERSION");
    // Past the check these files fail because they are not libraries.
    const bypassed = { LIBTORCH: other, LIBTORCH_BYPASS_VERSION_CHECK: "1" };
    expect(await failureOf(whole, bypassed)).toMatch(/libc10\.so: file too short/);
  });

  it("with an addon that was built against another libtorch: the same, from what its build.json says", async () => {
    const build = whole.at("node_modules", PLATFORM, "build.json");
    const aside = `${build}.aside`;
    cpSync(build, aside);
    try {
      writeFileSync(build, JSON.stringify({ libtorch: "2.14.0", variant: "cpu", commit: null }));
      expect(await failureOf(whole, real())).toMatch(/built against libtorch 2\.14\.0, but libtorch 2\.13\.0/);
      const { stdout } = await whole.with({ ...real(), LIBTORCH_BYPASS_VERSION_CHECK: "1" }).ip2p(...edit);
      expect(stdout).not.toBe("");
    } finally {
      cpSync(aside, build);
    }
  });

  it("without the platform package: every place that was tried, and hints", async () => {
    const message = await failureOf(omitted, real());
    expect(message).toMatch(/^ip2p: no native addon is installed for linux-x64-gnu; run `npx ip2p build`/m);
    expect(message).toContain(`${join("build", "Release", "ip2p.node")}: does not exist`);
    expect(message).toContain(`${PLATFORM}: is not installed`);
    for (const hint of ["--omit=optional", "lockfile", "supportedArchitectures"]) expect(message).toContain(hint);
    expect(await codeOf(omitted, real())).toBe("InstructPix2PixError ERR_ADDON_NOT_FOUND");
    const { status, stdout } = await omitted.with(real()).ip2pAnyhow("doctor");
    expect(status).toBe(1);
    expect(stdout).toMatch(/^addon +not found$/m);
    expect(stdout).toMatch(/^ERR_ADDON_NOT_FOUND: /m);
  });

  it("with node_modules from another platform: the command in the message fixes it", async () => {
    const project = new Project(join(published.folder, "foreign"), layouts.npm, env);
    await project.add(published.registry.url, "instruct-pix2pix", "--os=darwin", "--cpu=arm64");
    cpSync(whole.at("in.png"), project.at("in.png"));
    const message = await failureOf(project, real());
    expect(message).toContain(`${PLATFORM}: is not installed`);
    const [, args] = /`npm install (--os=linux --cpu=x64)`/.exec(message) as unknown as [string, string];
    await project.add(published.registry.url, ...args.split(" "));
    await project.with(real()).ip2p(...edit);
  });

  it("inside an asar archive: that it must be unpacked", async () => {
    const folder = join(published.folder, "app.asar");
    mkdirSync(folder);
    cpSync(omitted.at("node_modules"), join(folder, "node_modules"), { recursive: true, verbatimSymlinks: true });
    const packed = new Project(folder, layouts.npm, env);
    cpSync(whole.at("in.png"), packed.at("in.png"));
    expect(await failureOf(packed, real())).toMatch(/inside an asar archive.*asarUnpack/);
    expect(await failureOf(omitted, real())).not.toContain("asar");
    rmSync(folder, { recursive: true });
  });

  it("that is to be built without compiler and CMake: what is missing, and how it is installed", async () => {
    const message = await failureOf(omitted, real(), ["build"]);
    expect(message).toMatch(
      /missing: CMake, Ninja or Make, a C\+\+20 compiler; run `apt-get install cmake ninja-build g\+\+`/,
    );
  });

  it("on musl: that there is no libtorch for it", async () => {
    const musl = {
      NODE_OPTIONS: `--require ${pretend(whole, "musl", { header: {}, sharedObjects: ["/lib/ld-musl-x86_64.so.1"] })}`,
    };
    for (const args of [["install"], edit])
      expect(await failureOf(whole, musl, args)).toMatch(
        /this Linux uses the musl C library, and libtorch exists only for glibc/,
      );
    expect((await whole.with(musl).ip2pAnyhow("doctor")).stdout).toMatch(/^platform +linux-x64-musl/m);
  });

  it("on a system that is too old: what it has and what is needed", async () => {
    const old = { NODE_OPTIONS: `--require ${pretend(whole, "old", { header: { glibcVersionRuntime: "2.17" } })}` };
    expect(await failureOf(whole, old)).toMatch(
      /this system is too old: its C library is glibc 2\.17, and libtorch needs 2\.28/,
    );
    expect((await whole.with(old).ip2pAnyhow("doctor")).stdout).toMatch(/^ERR_LIBTORCH: this system is too old/m);
  });

  it("asked for CUDA without a driver: that CUDA is not available", async () => {
    const message = await failureOf(whole, real(), [...edit, "--device", "cuda"]);
    expect(message).toMatch(/device "cuda" is not available: /);
  });
});

/** A program that makes the package believe in another C library. */
function pretend(project: Project, name: string, report: object): string {
  const path = project.at(`pretend-${name}.cjs`);
  writeFileSync(path, `process.report.getReport = () => (${JSON.stringify(report)});`);
  return path;
}
