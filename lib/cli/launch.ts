import { defineCommand } from "./command.js";
import { launchOptions } from "./launch/options.js";
import { splitCommand } from "./launch/split.js";

/** `ip2p launch`: starts the processes of a training. */
export const launchCommand = defineCommand({
  name: "launch",
  summary: "start a command by several processes that train together, as `accelerate launch` does",
  description: [
    "Behind its own options comes what is started: train_instruct_pix2pix.py, train_instruct_pix2pix_sdxl.py or a subcommand, with its options. So a command line that begins with `accelerate launch` works with `ip2p launch` instead.",
    "Lines are marked with the rank that printed them. When a process dies, the others are ended, and the message says which it was, how it died and in which step.",
  ],
  examples: [
    "ip2p launch --num_processes 2 train --pretrained_model_name_or_path ./base --train_data_dir ./pairs --output_dir ./my-model",
    "ip2p launch --num_processes 4 --num_machines 2 --machine_rank 1 --main_process_ip 10.0.0.1 train_instruct_pix2pix.py --pretrained_model_name_or_path ./base --train_data_dir ./pairs --output_dir ./my-model",
  ],
  options: launchOptions,
  split: splitCommand,
  run: async (values, io, command) => (await import("./launch/run.js")).runLaunch(values, command, io),
});
