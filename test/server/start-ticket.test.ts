import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { processStart } from "../../lib/files/process-start.js";
import { StartTicket } from "../../lib/server/jobs/start-ticket.js";
import { isRunning } from "../../lib/server/jobs/training.js";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-ticket-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

it("tells who took a ticket, as a process that runs", async () => {
  const ticket = new StartTicket(folder, 1);
  await ticket.issue();
  expect(await StartTicket.take(ticket.path)).toBe(true);
  const begun = await ticket.settle();
  expect(begun?.pid).toBe(process.pid);
  expect(await isRunning(begun!)).toBe(true);
  expect(await isRunning({ ...begun!, started: begun!.started! - 60_000 })).toBe(false); // another one of that number
});

it("refuses a ticket that was given up, and one that another process has taken", async () => {
  const ticket = new StartTicket(folder, 2);
  await ticket.issue();
  expect(await ticket.settle()).toBeUndefined();
  expect(await StartTicket.take(ticket.path)).toBe(false);
  expect(readdirSync(folder)).toEqual([]);
  await ticket.issue();
  expect(await StartTicket.take(ticket.path)).toBe(true);
  expect(await StartTicket.take(ticket.path)).toBe(false);
});

it("is one attempt's, and none if it was never issued", async () => {
  const first = new StartTicket(folder, 1);
  await first.issue();
  await StartTicket.take(first.path);
  expect(await new StartTicket(folder, 11).settle()).toBeUndefined();
  expect(await new StartTicket(folder, 2).settle()).toBeUndefined();
  expect((await first.settle())?.pid).toBe(process.pid);
});

it("knows a process's start alike from outside and from within", async () => {
  const program = "console.log(process.pid); process.stdin.resume()";
  const child = spawn(process.execPath, ["-e", program], { stdio: ["pipe", "pipe", "ignore"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const outside = await processStart(child.pid!);
  child.stdin.end();
  await new Promise((resolve) => child.once("close", resolve));
  if (process.platform === "linux") expect(outside).toBeGreaterThan((await processStart(process.pid))!);
  else expect(outside).toBeUndefined();
});
