import { expect, it } from "vitest";
import { expectToRun, isReference, isServer, programs } from "./programs.js";
import { useDocsWorld } from "./workplace.js";

const world = useDocsWorld();

it("every example of the API's reference runs", async () => {
  const running = programs.map(([, block]) => block).filter((block) => isReference(block) && !isServer(block));
  expect(running.length).toBeGreaterThan(80);
  await expectToRun(running, world);
}, 1_800_000);
