import { expect, it } from "vitest";
import { editOptions } from "../../lib/cli/edit/options.js";
import { quickEdit, tinyPipeline } from "../runtime/tiny.js";
import { read } from "./pages.js";

it("the table of defaults says what a program and the command line do", async () => {
  const row = read("docs/api.md").match(/^\| steps: `numInferenceSteps`, `--num_inference_steps` \| (\d+).*\| (\d+)/m);
  using pipe = await tinyPipeline();
  const steps = new Promise<number>((resolve) => {
    const stop = new AbortController();
    const onStep = ({ totalSteps }: { totalSteps: number }) => {
      resolve(totalSteps);
      stop.abort();
    };
    pipe.run(quickEdit({ numInferenceSteps: undefined, onStep, signal: stop.signal })).catch(() => {});
  });
  expect(row?.slice(1).map(Number)).toEqual([await steps, editOptions.num_inference_steps.default]);
});
