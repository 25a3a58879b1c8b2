import { fastestOnCpu } from "../core/dtype.js";
import { gigabytes } from "../files/disk.js";
import type { SystemInfo } from "../runtime/contract/index.js";
import { type Diagnosis, diagnose } from "../runtime/diagnose.js";
import type { ProbedDevice } from "../runtime/probe.js";
import { defineCommand } from "./command.js";

/** `ip2p doctor`: reports what is installed, what is missing, and how to fix it. */
export const doctorCommand = defineCommand({
  name: "doctor",
  summary: "show what is installed, and how to fix what is missing",
  options: {
    libtorch: { type: "string", value: "DIR", help: "a libtorch to examine instead of the one that is found" },
    json: { type: "boolean", help: "print one JSON object" },
  },
  async run({ libtorch, json }, io) {
    const diagnosis = await diagnose({ libtorch, env: io.env });
    io.stdout.write(json ? `${JSON.stringify(diagnosis, null, 2)}\n` : `${describeDiagnosis(diagnosis)}\n`);
    return diagnosis.ok ? 0 : 1;
  },
});

/** The table of `ip2p doctor`, and below it each problem with its remedy. */
export function describeDiagnosis(diagnosis: Diagnosis): string {
  const rows = rowsOf(diagnosis);
  const width = Math.max(...rows.map(([name]) => name.length));
  const table = rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  const problems = diagnosis.problems.map(({ code, message }) => `${code}: ${message}`);
  return [...table, "", ...(problems.length > 0 ? problems : ["everything needed is installed"])].join("\n");
}

function rowsOf(diagnosis: Diagnosis): [name: string, value: string][] {
  const { node, platform, host, libtorch, addon, loading, cuda, cache } = diagnosis;
  const libc = platform.libc ? `, C library ${platform.libc} (${platform.oldestLibc} or newer is needed)` : "";
  const system = loading?.ok ? loading.system : undefined;
  const limit = host.coreLimit === null ? "" : `, limited to ${Number(host.coreLimit.toFixed(2))}`;
  const memoryLimit = host.memoryLimit === null ? "" : `, limited to ${gigabytes(host.memoryLimit)}`;
  return [
    ["Node.js", `${node.version}, Node-API ${node.napi}`],
    ["platform", `${platform.abi}, kernel ${host.kernel}${libc}`],
    ["processor", `${host.cpu}, ${host.cores} cores${limit}`],
    ["instructions", host.instructionSets.join(" ") || "unknown"],
    ["memory", `${gigabytes(host.totalMemory)}${memoryLimit}, ${gigabytes(host.freeMemory)} free`],
    ["libtorch", libtorch ? `${libtorch.version} (${libtorch.variant}), ${originOf(libtorch.source)}` : "not found"],
    ...(libtorch ? ([["", libtorch.root]] satisfies [string, string][]) : []),
    ["addon", addon ? `${addon.addon}${builtAgainst(addon.build)}` : "not found"],
    ["loading", loading === null ? "not tried" : loading.ok ? "works" : `fails: ${loading.reason}`],
    [
      "kernels",
      system ? `${system.cpuKernels}, libtorch's ${system.cpuCapability}; ${system.defaultThreads} threads` : "unknown",
    ],
    ["half precision", system ? describeHalves(system.cpuArithmetic) : "unknown"],
    ["CUDA driver", [cuda.version, cuda.devices.join(", "), cuda.reason].filter(Boolean).join("; ")],
    ["CUDA", describeCuda(diagnosis)],
    ...(loading?.ok ? loading.devices.map(describeDevice) : []),
    ["CUDA library", describeCudaLibrary(diagnosis)],
    ["cache", `${cache.folder}${cache.freeBytes === null ? "" : `, ${gigabytes(cache.freeBytes)} free`}`],
  ];
}

/** How models with weights in half precision compute on the CPU. */
function describeHalves(arithmetic: SystemInfo["cpuArithmetic"]): string {
  const says = ([type, used]: [string, string]) =>
    used === type ? `${type} by the processor's instructions` : `${type} weights with ${used} arithmetic`;
  return `${Object.entries(arithmetic).map(says).join(", ")}; --dtype auto is ${fastestOnCpu(arithmetic)} on the CPU`;
}

function originOf(source: NonNullable<Diagnosis["libtorch"]>["source"]): string {
  return source === "cache" ? "from the cache" : source === "option" ? "as given" : `by ${source}`;
}

function builtAgainst(build: NonNullable<Diagnosis["addon"]>["build"]): string {
  return build ? `, built against libtorch ${build.libtorch}` : "";
}

function describeCuda({ libtorch, loading, cuda }: Diagnosis): string {
  if (!libtorch) return "unknown";
  if (libtorch.variant === "cpu")
    return cuda.usable
      ? "this libtorch is the CPU variant; `npx ip2p install --variant cuda` fetches the other"
      : "this libtorch is the CPU variant";
  if (!loading?.ok) return "unknown";
  const { state, reason } = loading.cuda;
  if (state !== "loaded") return `${state}${reason ? `: ${reason}` : ""}`;
  return `usable, ${loading.system.cudaDevices} devices, ${describeVersions(loading.versions)}`;
}

/** 13000 is 13.0. */
function describeVersions(versions: { driver: number; runtime: number } | null): string {
  if (!versions) return "versions unknown";
  const text = (version: number) => `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
  return `CUDA ${text(versions.runtime)}, the driver serves up to ${text(versions.driver)}`;
}

function describeDevice(device: ProbedDevice, index: number): [name: string, value: string] {
  const name = `cuda:${index}`;
  if (!device.ok) return [name, `cannot be used: ${device.reason}`];
  const { properties, memory } = device;
  if (!properties) return [name, "works"];
  const free = memory.free === null ? "" : `, ${gigabytes(memory.free)} free`;
  return [
    name,
    `${properties.name}, compute capability ${properties.computeCapability.join(".")}, ${properties.multiprocessors} multiprocessors, ${gigabytes(properties.memory)}${free}`,
  ];
}

/** The library that this package builds beside the addon for CUDA. */
function describeCudaLibrary({ addon, libtorch, loading }: Diagnosis): string {
  if (libtorch?.variant !== "cuda") return "not needed";
  if (!addon?.cuda) return "not built; `npx ip2p build` makes it where CUDA's headers are found";
  const library = loading?.ok ? loading.cuda.library : undefined;
  return `${addon.cuda}, ${library ? `${library.state}${library.reason ? `: ${library.reason}` : ""}` : "not tried"}`;
}
