import { expect, test, vi } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";

/** A second device without a second device: the addon is stood in for, and says in which order it is called. */
const calls: string[] = [];
let finishMove: (error?: Error) => void = () => {};
vi.mock("../../lib/core/device.js", () => ({ resolveDevice: (device: string) => device }));
vi.mock("../../lib/runtime/native.js", () => ({
  native: () => ({
    moveModel: (_: unknown, device: string) => {
      calls.push(`move to ${device}`);
      return new Promise<void>((resolve, reject) => {
        finishMove = (error) => (error ? reject(error) : resolve());
      });
    },
    unetForward: async () => calls.push("forward"),
    modelStateDict: async () => {
      calls.push("state");
      return {};
    },
  }),
  cancellable: (_: unknown, run: (token: null) => unknown) => run(null),
}));

const turns = () => new Promise((resolve) => setImmediate(resolve));

test("calls are queued on the device of the weights: later calls after a move, and moves one by one", async () => {
  const parts = {
    kind: "UNet2DConditionModel",
    config: { in_channels: 8, cross_attention_dim: 4 },
    device: "cpu",
    dtype: "float32",
    quantization: "none",
  };
  const model = new UNet2DConditionModel({ ...parts, handle: {} } as never);
  const x = new Tensor({ shape: [1, 8, 8, 8], dtype: "float32" } as never);
  const text = new Tensor({ shape: [1, 77, 4], dtype: "float32" } as never);
  const forward = () => model.forward(x, 1, text);

  const before = forward();
  const moves = [model.to("cuda:0"), model.to("cuda:1")];
  const after = [forward(), model.stateDict()];
  await turns();
  expect(calls).toEqual(["forward", "move to cuda:0"]);
  finishMove();
  await turns();
  expect(calls).toEqual(["forward", "move to cuda:0", "move to cuda:1"]);
  expect(model.device).toBe("cuda:0");
  finishMove();
  await Promise.all([before, ...moves, ...after]);
  expect(calls.slice(3).sort()).toEqual(["forward", "state"]);
  expect(model.device).toBe("cuda:1");

  // A failed move leaves the model where it was, and blocks no later call.
  const failed = model.to("cpu");
  const next = forward();
  await turns();
  finishMove(new Error("no memory"));
  await expect(failed).rejects.toThrow("no memory");
  await next;
  expect([model.device, calls.at(-1)]).toEqual(["cuda:1", "forward"]);
});
