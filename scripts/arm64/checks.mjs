// What `npm run test:arm64` runs on the emulated machine.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PROCESSORS } from "./machine.mjs";
import { npmPlatform } from "./project.mjs";

/** How far its picture may be from this machine's, of 1. */
const FARTHEST = 1e-4;

/** For what hangs: an emulated processor takes ten times as long, or more. */
const TIME_LIMIT = 3_600_000;

/** Runs tests, and says how many passed and which were skipped. */
const vitest = ({ run, say }, processor, ...paths) =>
  inFolder(async (folder) => {
    const output = join(folder, "tests.json");
    try {
      await run(
        [
          ...["node_modules/vitest/vitest.mjs", "run", ...paths, "--maxWorkers=2"],
          ...[`--testTimeout=${TIME_LIMIT}`, `--hookTimeout=${TIME_LIMIT}`],
          ...["--reporter=default", "--reporter=json", `--outputFile=${output}`],
        ],
        { processor },
      );
    } finally {
      if (existsSync(output))
        for (const line of summary(JSON.parse(readFileSync(output, "utf8")))) say(`${processor}: ${line}`);
    }
  });

/** A line for each file of tests. */
const summary = ({ testResults }) =>
  testResults.map(({ name, assertionResults }) => {
    const named = (...states) => assertionResults.filter(({ status }) => states.includes(status));
    const others = [
      ...named("failed").map(({ fullName }) => `failed: ${fullName}`),
      ...named("pending", "skipped", "todo").map(({ fullName }) => `skipped: ${fullName}`),
    ];
    return [`${name.replace(/^.*\/test\//, "")}: ${named("passed").length} passed`, ...others].join("; ");
  });

/** Every check by its name, in this order. */
const CHECKS = {
  /** That it loads, and what `ip2p doctor` says of it. */
  doctor: ({ run }) => run(["dist/cli/main.js", "doctor"]),

  /** The built-in model gives this machine's picture. */
  async edit({ root, project, run, say }) {
    await inFolder(async (folder) => {
      const program = fileURLToPath(new URL("edit.mjs", import.meta.url));
      const [there, here] = [join(folder, "there.safetensors"), join(folder, "here.safetensors")];
      await run([program, there, project]);
      succeed(process.execPath, [program, here, root], { cwd: root });
      const { loadSafetensors } = await import("../../dist/index.js");
      const [a, b] = await Promise.all(
        [there, here].map(async (path) => (await loadSafetensors(path)).images.toArray()),
      );
      if (a.length === 0 || a.length !== b.length)
        throw new Error(`the pictures have ${a.length} and ${b.length} numbers`);
      const farthest = a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
      say(`the pictures of both machines differ by at most ${farthest.toExponential(1)}`);
      // The negation also catches NaN.
      if (!(farthest <= FARTHEST)) throw new Error(`the pictures differ by ${farthest}, more than ${FARTHEST}`);
    });
  },

  /** Three training steps, two and a resumed one with the same result, an edit in a thread, and the end of the process. */
  smoke: ({ run }) =>
    inFolder(async (folder) => {
      const printed = await run(["--expose-gc", "test/node-versions/smoke.mjs", folder]);
      const { edit, worker, training, resumed } = JSON.parse(printed.trim().split("\n").at(-1));
      if (worker !== edit) throw new Error("the edit in a thread gave another picture");
      if (resumed !== training) throw new Error("the resumed training gave other weights");
    }),

  /** Kernels beside libtorch's operators, on a processor of each kind. */
  kernels: (world) => onEach(world, "test/kernels"),

  /** Modules, pipelines and training beside what diffusers computed, on a processor of each kind. */
  parity: (world) => onEach(world, "test/parity"),

  /** From tarballs alone: install, edit, train three steps. */
  async package({ root, project, build, platform, run }) {
    await inFolder(async (folder) => {
      succeed(process.execPath, ["scripts/package.mjs", "--build", `${platform}=${build}`, "--out", folder], {
        cwd: root,
      });
      const packages = JSON.parse(readFileSync(join(folder, "packages.json"), "utf8"));
      const tarball = (matches) => {
        const { name, file } = packages.find(matches);
        return { [name]: `file:${join(folder, file)}` };
      };
      const user = join(folder, "user");
      mkdirSync(user);
      const manifest = {
        name: "user",
        private: true,
        dependencies: tarball(({ name }) => name === "instruct-pix2pix"),
        // npm takes a package for another platform as an optional one only.
        optionalDependencies: tarball(({ name }) => name.endsWith(platform)),
      };
      writeFileSync(join(user, "package.json"), JSON.stringify(manifest));
      succeed("npm", ["install", ...npmPlatform, "--loglevel=error"], { cwd: user });
      const own = { folder: user, env: { INSTRUCT_PIX2PIX_CACHE: join(folder, "cache") } };
      const ip2p = (...args) => run(["node_modules/instruct-pix2pix/dist/cli/main.js", ...args], own);
      await ip2p("install", "--variant", "cpu");
      await ip2p("doctor");
      const fixture = (path) => join(project, "test", "fixtures", path);
      await ip2p(
        ...["edit", "--image", fixture("built-in/picture.png"), "--prompt", "change the background to peach"],
        ...["--output", join(user, "edited.png"), "--seed", "1", "--num_inference_steps", "5"],
      );
      await ip2p(
        ...["train", "--pretrained_model_name_or_path", fixture("script-full/base")],
        ...["--train_data_dir", fixture("script-full/dataset"), "--output_dir", join(user, "trained")],
        ...["--resolution", "32", "--train_batch_size", "2", "--seed", "3", "--max_train_steps", "3"],
      );
      const steps = readFileSync(join(user, "trained", "metrics.jsonl"), "utf8")
        .trim()
        .split("\n");
      if (steps.length !== 3) throw new Error(`training wrote ${steps.length} steps, not 3`);
      if (readFileSync(join(user, "edited.png")).length < 1000) throw new Error("the edited picture is nearly empty");
    });
  },
};

async function onEach(world, paths) {
  for (const processor of Object.keys(PROCESSORS)) await vitest(world, processor, paths);
}

async function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-arm64-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function succeed(program, args, options) {
  const { status, error } = spawnSync(program, args, { stdio: "inherit", ...options });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${error?.message ?? status}`);
}

/**
 * Runs the checks of these names, or all; a failed one does not keep the others from running.
 *
 * @throws an error that names those that failed
 */
export async function check(world, names) {
  const unknown = names.filter((name) => !(name in CHECKS));
  if (unknown.length > 0) throw new Error(`there is no check ${unknown.join(", ")}: ${Object.keys(CHECKS).join(", ")}`);
  const failed = [];
  for (const name of names.length > 0 ? names : Object.keys(CHECKS)) {
    const begun = Date.now();
    world.say(`${name} …`);
    try {
      await CHECKS[name](world);
      world.say(`${name}: passed after ${Math.round((Date.now() - begun) / 1000)} s`);
    } catch (error) {
      world.say(`${name}: ${error.message}`);
      failed.push(name);
    }
  }
  if (failed.length > 0) throw new Error(`failed: ${failed.join(", ")}`);
}
