import { declareOptions } from "../options/declaration.js";
import { defineCommand } from "./command.js";

const options = declareOptions({
  default: { type: "boolean", help: "ask nothing, and write one process on one host" },
  config_file: {
    type: "string",
    value: "FILE",
    help: "the file to write; by default accelerate's own, which `ip2p launch` and `accelerate launch` find",
  },
});

/** `ip2p config`: writes the file that `ip2p launch` reads. */
export const configCommand = defineCommand({
  name: "config",
  summary: "write the configuration of `ip2p launch`, as `accelerate config` does",
  description: [
    "It asks how many hosts and processes there are, and for mixed precision. An empty answer is the one in brackets: what the file says already, or else the default. Keys of the file that it does not ask for are kept.",
  ],
  examples: ["ip2p config", "ip2p config --default", "ip2p config --config_file two-hosts.yaml"],
  options,
  run: async (values, io) => (await import("./launch/ask.js")).runConfig(values, io),
});
