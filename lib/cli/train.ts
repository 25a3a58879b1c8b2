import { defineCommand } from "./command.js";
import { trainCommandOptions } from "./train/options.js";

/** `ip2p train`: trains a model. */
export const trainCommand = defineCommand({
  name: "train",
  summary: "train an InstructPix2Pix model from pairs of images and instructions",
  description: [
    "Takes the options of diffusers' train_instruct_pix2pix.py, and with a Stable Diffusion XL base model those of train_instruct_pix2pix_sdxl.py, under the same names and with the same defaults, so a command for these scripts can be pasted behind `ip2p train`.",
    "Ctrl-C saves a checkpoint and ends; go on with --resume_from_checkpoint latest.",
  ],
  examples: [
    "ip2p train --pretrained_model_name_or_path stable-diffusion-v1-5/stable-diffusion-v1-5 --train_data_dir ./pairs --output_dir ./my-model --resolution 256 --train_batch_size 4 --mixed_precision bf16 --random_flip --conditioning_dropout_prob 0.05 --max_train_steps 15000 --seed 42",
    "ip2p train --pretrained_model_name_or_path timbrooks/instruct-pix2pix --dataset_name my/pairs --resume_from_checkpoint latest",
  ],
  options: trainCommandOptions,
  run: async (values, io) => (await import("./train/run.js")).runTrain(values, io),
});
