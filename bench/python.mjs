import { spawnSync } from "node:child_process";

const PACKAGES = ["torch", "diffusers", "transformers", "PIL"];

const HOW_TO = `to compare with diffusers, make an environment and name it:
    python3 -m venv bench-env && bench-env/bin/pip install torch diffusers transformers pillow
    IP2P_BENCH_PYTHON=bench-env/bin/python npm run bench`;

/**
 * The Python with the reference packages, from IP2P_BENCH_PYTHON.
 *
 * @returns {{ path: string } | { missing: string }} `missing`: the message if there is none
 */
export function findPython(env = process.env) {
  const path = env.IP2P_BENCH_PYTHON;
  if (!path) return { missing: `IP2P_BENCH_PYTHON is not set; ${HOW_TO}` };
  const { status, error, stderr } = spawnSync(path, ["-c", `import ${PACKAGES.join(", ")}`], { encoding: "utf8" });
  if (status === 0) return { path };
  const reason = error?.message ?? stderr.trim().split("\n").at(-1);
  return { missing: `IP2P_BENCH_PYTHON=${path} cannot import ${PACKAGES.join(", ")} (${reason}); ${HOW_TO}` };
}
