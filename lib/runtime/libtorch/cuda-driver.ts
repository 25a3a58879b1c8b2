import { runProgramSync } from "../child-process.js";

/** The NVIDIA driver of this machine, without loading its library. */
export interface CudaDriver {
  /** Whether a driver is installed that the CUDA variant of libtorch supports. */
  usable: boolean;
  /** E.g. `580.65.06`; undefined without a driver. */
  version?: string;
  /** The names of the GPUs. */
  devices: string[];
  /** The reason if it is not usable. */
  reason?: string;
}

/** The oldest driver branch for CUDA 13, which the pinned CUDA variant is built with. */
const OLDEST_BRANCH = 580;

/** Asks `nvidia-smi`, which comes with every driver. */
export function detectCudaDriver(run = queryNvidiaSmi): CudaDriver {
  const lines = run();
  if (lines === undefined) return { usable: false, devices: [], reason: "no NVIDIA driver" };
  const rows = lines
    .trim()
    .split("\n")
    .map((line) => line.split(",").map((field) => field.trim()));
  const version = rows[0]?.[0];
  const branch = Number.parseInt(version ?? "", 10);
  const devices = rows.flatMap(([, name]) => (name ? [name] : []));
  if (!version || Number.isNaN(branch) || devices.length === 0)
    return { usable: false, devices: [], reason: "the NVIDIA driver reports no GPU" };
  if (branch < OLDEST_BRANCH)
    return {
      usable: false,
      version,
      devices,
      reason: `the NVIDIA driver ${version} is too old, CUDA 13 needs ${OLDEST_BRANCH} or newer`,
    };
  return { usable: true, version, devices };
}

function queryNvidiaSmi(): string | undefined {
  const query = ["--query-gpu=driver_version,name", "--format=csv,noheader"];
  const { status, stdout } = runProgramSync("nvidia-smi", query, { timeout: 20_000 });
  return status === 0 ? stdout : undefined;
}
