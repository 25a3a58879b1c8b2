import type { AnyCommand } from "./command.js";

/** A subcommand before it is loaded, so that the list of commands costs no import. */
export interface CommandEntry {
  name: string;
  /** The command's own summary, repeated. */
  summary: string;
  load(): Promise<AnyCommand>;
}

/** Every subcommand of `ip2p`. A new one is a module with `defineCommand` and a line here. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "edit",
    summary: "edit an image by an instruction",
    load: async () => (await import("./edit.js")).editCommand,
  },
  {
    name: "generate",
    summary: "make images from text, or change an image or the masked part of one by text",
    load: async () => (await import("./generate.js")).generateCommand,
  },
  {
    name: "upscale",
    summary: "make an image 2 or 4 times as large on each side",
    load: async () => (await import("./upscale.js")).upscaleCommand,
  },
  {
    name: "serve",
    summary: "serve images over HTTP, by OpenAI's API",
    load: async () => (await import("./serve.js")).serveCommand,
  },
  {
    name: "train",
    summary: "train an InstructPix2Pix model from pairs of images and instructions",
    load: async () => (await import("./train.js")).trainCommand,
  },
  {
    name: "ema",
    summary: "make the average of a training's weights, of any width, when it is over",
    load: async () => (await import("./ema.js")).emaCommand,
  },
  {
    name: "launch",
    summary: "start a command by several processes that train together, as `accelerate launch` does",
    load: async () => (await import("./launch.js")).launchCommand,
  },
  {
    name: "config",
    summary: "write the configuration of `ip2p launch`, as `accelerate config` does",
    load: async () => (await import("./config.js")).configCommand,
  },
  {
    name: "make-dataset",
    summary: "make a data set: of your own pairs of images in another layout, of your photographs, or of drawn images",
    load: async () => (await import("./make-dataset.js")).makeDatasetCommand,
  },
  {
    name: "check-dataset",
    summary: "read all pairs of a data set, and report what is wrong with them",
    load: async () => (await import("./check-dataset.js")).checkDatasetCommand,
  },
  {
    name: "evaluate",
    summary: "measure how well a model edits: pairs with captions by CLIP, or the drawn world",
    load: async () => (await import("./evaluate.js")).evaluateCommand,
  },
  {
    name: "install",
    summary: "fetch libtorch into the user's cache",
    load: async () => (await import("./install.js")).installCommand,
  },
  {
    name: "build",
    summary: "build the native addon on this machine (needs CMake and a C++20 compiler)",
    load: async () => (await import("./build.js")).buildCommand,
  },
  {
    name: "doctor",
    summary: "show what is installed, and how to fix what is missing",
    load: async () => (await import("./doctor.js")).doctorCommand,
  },
];
