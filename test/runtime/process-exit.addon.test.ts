import { expect, test } from "vitest";
import { runChild } from "./child.js";

/** The work that is under way in the programs would take hours: it is killed long before that if it does not end. */
const ending = (mode: string) => runChild("ending.mjs", [mode]);

test("an idle addon does not keep the process alive", async () => {
  const { status, stdout, stderr } = await ending("idle");
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "done\nexit 0\n", stderr: "" });
});

test("running work keeps the process alive until it is done", async () => {
  expect(await ending("waited-for")).toMatchObject({ status: 0, stdout: "done\nexit 0\n", stderr: "" });
  expect(await ending("exit-code")).toMatchObject({ status: 3, stdout: "exit 3\n", stderr: "" });
});

test("process.exit() in the middle of work exits promptly with its code", async () => {
  expect(await ending("exit")).toMatchObject({ status: 7, stdout: "computing\nexit 7\n", stderr: "" });
});

test("an uncaught exception in the middle of work ends the process with 1 and its own stack", async () => {
  const { status, stdout, stderr } = await ending("throw");
  expect({ status, stdout }).toEqual({ status: 1, stdout: "computing\nexit 1\n" });
  expect(stderr).toContain("Error: in the middle of the work");
});

test("an unhandled native error ends the process with 1 and names the error's class and code", async () => {
  const { status, stderr } = await ending("unhandled");
  expect(status).toBe(1);
  expect(stderr).toMatch(/InstructPix2PixError: the model was disposed[\s\S]*code: 'ERR_DISPOSED'/);
});

test("signals in the middle of work end the process promptly, by themselves or by a handler's process.exit()", async () => {
  expect(await ending("abort-signal")).toMatchObject({ status: "SIGTERM", stdout: "computing\n" });
  expect(await ending("handled-signal")).toMatchObject({ status: 143, stdout: "computing\nexit 143\n", stderr: "" });
});
