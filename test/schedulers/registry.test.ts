import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadScheduler, SCHEDULER_NAMES, schedulerFromClassName } from "../../lib/schedulers/index.js";
import { fixture } from "../helpers/fixtures.js";

const folder = mkdtempSync(join(tmpdir(), "schedulers-"));
afterAll(() => rmSync(folder, { recursive: true }));

const write = (text: string) => writeFileSync(join(folder, "scheduler_config.json"), text);

describe("schedulers by name", () => {
  it("are found by the names that files use", () => {
    for (const name of SCHEDULER_NAMES) expect(schedulerFromClassName(name).fromConfig({}).className).toBe(name);
    expect(schedulerFromClassName("FlaxPNDMScheduler").fromConfig({}).className).toBe("PNDMScheduler");
  });

  it.each(["KarrasVeScheduler", "", "constructor", "__proto__", "../ddim", undefined, ["DDIMScheduler"]])(
    "%o is refused with the list of what exists",
    (name) => {
      const refused = expect.objectContaining({
        code: "ERR_CONFIG",
        message: expect.stringContaining(SCHEDULER_NAMES.join(", ")),
      });
      expect(() => schedulerFromClassName(name as string)).toThrow(refused);
    },
  );

  it("load from a folder", async () => {
    const scheduler = await loadScheduler(fixture("ip2p-tiny", "model", "scheduler"));
    expect(scheduler.config._class_name).toBe(scheduler.className);
    write('{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "solver_order": 3}');
    expect((await loadScheduler(folder)).config.lambda_min_clipped).toBe(-Infinity);
  });

  it("name the file that is wrong, and how", async () => {
    const path = join(folder, "scheduler_config.json");
    const fails = (code: string, text: string) =>
      expect(loadScheduler(folder)).rejects.toEqual(
        expect.objectContaining({ code, message: expect.stringContaining(`${path}: ${text}`) }),
      );
    write("{");
    await fails("ERR_CONFIG", "is not valid JSON");
    write('{"beta_start": 0.1}');
    await fails("ERR_CONFIG", "unknown scheduler class");
    write('{"_class_name": "DDIMScheduler", "beta_start": NaN}');
    await fails("ERR_CONFIG", "DDIMScheduler: beta_start NaN is not a number");
    rmSync(path);
    await fails("ERR_FILE_NOT_FOUND", "no such file");
  });
});
