import { defineCommand } from "./command.js";

/** `ip2p install`: puts libtorch into the user's cache. */
export const installCommand = defineCommand({
  name: "install",
  summary: "fetch libtorch into the user's cache",
  options: {
    variant: {
      type: "string",
      choices: ["auto", "cpu", "cuda"],
      default: "auto",
      help: "the build of libtorch; auto takes cuda where there is a driver that is new enough",
    },
    from: {
      type: "string",
      value: "FILE|DIR",
      help: "a wheel, an official archive, an unpacked libtorch or a folder of wheels to use instead of a download",
    },
    mirror: { type: "string", value: "URL", help: "a copy of the official index of wheels to download from" },
    force: { type: "boolean", help: "replace what the cache holds already" },
    json: { type: "boolean", help: "print the result as one JSON object" },
  },
  async run({ variant, from, mirror, force, json }, io) {
    // Loaded lazily, so that the help appears at once.
    const { installLibtorch } = await import("../runtime/libtorch/install.js");
    const { InstallProgress } = await import("./install-progress.js");
    const progress = new InstallProgress(io.stderr);
    try {
      const installed = await installLibtorch({
        ...{ variant, from, mirror, force },
        env: io.env,
        signal: io.signal,
        onEvent: progress.onEvent,
      });
      progress.stop();
      const { root, version, alreadyThere } = installed;
      const what = `libtorch ${version} (${installed.variant})`;
      if (json) io.stdout.write(`${JSON.stringify({ root, version, variant: installed.variant, alreadyThere })}\n`);
      else if (alreadyThere) io.stdout.write(`${what} is already at ${root}\n`);
      else io.stdout.write(`${what} is installed at ${root}\n`);
      return 0;
    } finally {
      progress.stop();
    }
  },
});
