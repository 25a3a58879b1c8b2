import { expect, test } from "vitest";
import { fixture } from "../helpers/fixtures.js";
import { Ranks } from "./distributed/ranks.js";
import { fingerprint, TemporaryFolder, tinyOptions } from "./reliability/tiny-run.js";

test("two processes train a LoRA to the same bits each time, resumed or not", async () => {
  using folder = new TemporaryFolder();
  const run = async (name: string, maxTrainSteps: number) => {
    const options = tinyOptions(folder.at(name), {
      ...{ pretrainedModelNameOrPath: fixture("ip2p-tiny", "model"), lora: true, loraDropout: 0.1, rank: 2 },
      ...{ trainTextEncoder: true, trainBatchSize: 1, checkpointingSteps: 2, maxTrainSteps },
      ...{ lrScheduler: "constant", resumeFromCheckpoint: "latest" },
    });
    const ended = await (await Ranks.start(2, options)).ended;
    expect(ended.map(({ status }) => status)).toEqual([0, 0]);
  };
  await run("whole", 4);
  await run("parts", 2);
  await run("parts", 4);
  expect(fingerprint(folder.at("parts", "checkpoint-4"))).toEqual(fingerprint(folder.at("whole", "checkpoint-4")));
});
