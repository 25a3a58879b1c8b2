// The ways in which other programs take the package in.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { rolldown } from "rolldown";
import { beforeAll, describe, expect, it } from "vitest";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { layouts, Project } from "./layouts.js";
import { type Published, publish, repository } from "./published.js";
import { programOf, run } from "./run.js";

let published: Published;
let project: Project;

beforeAll(async () => {
  published = await publish();
  const env = { ...process.env, LIBTORCH: resolveLibtorch().root, NODE_OPTIONS: "" };
  project = new Project(join(published.folder, "consumer"), layouts.npm, env);
  await project.add(published.registry.url, "instruct-pix2pix");
  return () => published.remove();
}, 600_000);

/** Uses both halves of the package, and prints 6. */
const use = `
const sum = async ({ Tensor }) => {
  const values = await Tensor.from(Float32Array.of(1, 2, 3), [3]).toArray();
  return values.reduce((a, b) => a + b);
};`;

const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
/** Node.js can \`require\` an ES module since 20.19 and 22.12. */
const requiresModules = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;

describe("the package", () => {
  it("is imported by an ES module", async () => {
    const program = `import * as all from "instruct-pix2pix"; ${use} console.log(await sum(all));`;
    expect(await project.node("es.mjs", program)).toBe("6");
  });

  it("is imported by a CommonJS module", async () => {
    const program = `${use} import("instruct-pix2pix").then(sum).then(console.log);`;
    expect(await project.node("common.cjs", program)).toBe("6");
  });

  it.runIf(requiresModules)("is required by a CommonJS module", async () => {
    const program = `${use} sum(require("instruct-pix2pix")).then(console.log);`;
    expect(await project.node("required.cjs", program)).toContain("6");
  });

  it("works in worker threads", async () => {
    const program = `
      import { isMainThread, parentPort, Worker } from "node:worker_threads";
      import * as all from "instruct-pix2pix";
      ${use}
      if (isMainThread) {
        const work = () => new Promise((resolve, reject) =>
          new Worker(new URL(import.meta.url)).on("message", resolve).on("error", reject));
        const answers = await Promise.all([work(), work()]);
        console.log(answers.join(), await sum(all));
      } else parentPort.postMessage(await sum(all));`;
    expect(await project.node("workers.mjs", program)).toBe("6,6 6");
  });

  it("stays outside of bundles", async () => {
    const entry = project.at("entry.mjs");
    writeFileSync(entry, `import { Tensor } from "instruct-pix2pix"; ${use} sum({ Tensor }).then(console.log);`);
    const external = ["instruct-pix2pix"];
    for (const format of ["esm", "cjs"] as const) {
      if (format === "cjs" && !requiresModules) continue;
      const { outputFiles } = await build({
        ...{ entryPoints: [entry], bundle: true, platform: "node", external, format },
        write: false,
      });
      const name = `esbuild.${format === "esm" ? "mjs" : "cjs"}`;
      expect(await project.node(name, outputFiles[0]!.text)).toContain("6");
    }
    const bundle = await rolldown({ input: entry, external });
    const { output } = await bundle.generate({ format: "es" });
    expect(await project.node("rolldown.mjs", output[0].code)).toBe("6");
  });

  it.each([
    ["node16", "node16"],
    ["esnext", "bundler"],
  ])("has types for module %s, moduleResolution %s", async (module, moduleResolution) => {
    writeFileSync(
      project.at("typed.mts"),
      `import { InstructPix2PixPipeline, InstructPix2PixError, train, type TrainResult } from "instruct-pix2pix";
       const pipe = await InstructPix2PixPipeline.fromPretrained("m", { device: "auto", dtype: "bfloat16" });
       const { images } = await pipe.run({ image: "a.png", prompt: "b" });
       const width: number = images[0]!.width;
       // @ts-expect-error there is no such type
       await InstructPix2PixPipeline.fromPretrained("m", { dtype: "float8" });
       const result: TrainResult = await train({ pretrainedModelNameOrPath: "m", trainDataDir: "d", outputDir: "o" });
       export { InstructPix2PixError, result, width };`,
    );
    const options = {
      ...{ module, moduleResolution, target: "es2022", lib: ["es2022"], strict: true, noEmit: true },
      ...{ types: ["node"], typeRoots: [join(repository, "node_modules", "@types")] },
    };
    writeFileSync(project.at("tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["typed.mts"] }));
    await run(process.execPath, [programOf("typescript", "bin/tsc"), "-p", project.folder]);
  });

  it("carries all its native sources, which CMake configures with the headers of its dependencies", async () => {
    const { stdout } = await run("git", ["ls-files", "native", "CMakeLists.txt"], { cwd: repository });
    const installed = project.at("node_modules", "instruct-pix2pix");
    for (const path of stdout.trim().split("\n")) expect(existsSync(join(installed, path)), path).toBe(true);

    const folder = project.at("own-build");
    const libtorch = `-DIP2P_LIBTORCH=${resolveLibtorch().root}`;
    await run("cmake", ["-S", installed, "-B", folder, libtorch]);
    await run("cmake", ["--build", folder, "--target", "ip2p_preload"]);
    const { dlopen } = createRequire(import.meta.url)(join(folder, "Release", "ip2p_preload.node"));
    expect(() => dlopen("/nowhere.so")).toThrow(/nowhere\.so/);
  });

  it("is clean for publint", async () => {
    for (const { path } of published.tarballs) {
      const data = readFileSync(path);
      const tarball = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
      const { messages, pkg } = await publint({ pack: { tarball }, strict: true });
      expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
    }
  });

  it("has types that are not wrong", async () => {
    const { path } = published.tarballs.find(({ name }) => name === "instruct-pix2pix")!;
    const attw = programOf("@arethetypeswrong/cli", "dist/index.js");
    // It is ESM only: an older Node.js cannot require it.
    const { stdout } = await run(process.execPath, [attw, path, "--profile", "esm-only", "--no-color", "--no-emoji"]);
    expect(stdout).toMatch(/node16 \(from ESM\) +│ OK \(ESM\)/);
    expect(stdout).toMatch(/bundler +│ OK/);
  });

  it("runs nothing when it is installed, and is smaller than 25 MB", () => {
    for (const { size } of published.tarballs) expect(size).toBeLessThan(25_000_000);
    const manifest = JSON.parse(readFileSync(project.at("node_modules", "instruct-pix2pix", "package.json"), "utf8"));
    expect(manifest.scripts).toBeUndefined();
    const lock = JSON.parse(readFileSync(project.at("package-lock.json"), "utf8")) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    const scripted = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript);
    expect(scripted.map(([path]) => path)).toEqual([]);
  });
});
