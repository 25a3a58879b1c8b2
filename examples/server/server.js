import { InstructPix2PixPipeline } from "instruct-pix2pix";
import { createAccess } from "./access.js";
import { createApp } from "./app.js";
import { readSettings } from "./settings.js";

const settings = readSettings(process.argv.slice(2), process.env);
const access = createAccess(settings);
const { model, host, port } = settings;
const { device, dtype } = /** @type {import("instruct-pix2pix").FromPretrainedOptions} */ (settings);

const pipe = await InstructPix2PixPipeline.fromPretrained(model, { device, dtype });
const { app, stop } = createApp(pipe, settings, access);
await app.listen({ host, port });

// A second signal ends the process at once, as if there were no handler.
for (const name of /** @type {const} */ (["SIGTERM", "SIGINT"]))
  process.once(name, async () => {
    app.log.info(`${name}: stopping`);
    await stop();
    pipe.dispose();
  });
