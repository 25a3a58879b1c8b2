import { resolveDevice } from "../../dist/core/device.js";
import { resolveDType } from "../../dist/core/dtype.js";

/** Whether a device computes in bfloat16 by itself: elsewhere training in it is slower than in float32. */
export const computesInBfloat16 = (device) => resolveDType("auto", resolveDevice(device)) === "bfloat16";
