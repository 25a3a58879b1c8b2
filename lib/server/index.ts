// The public exports of instruct-pix2pix/server, nothing else.

import "../core/symbols.js"; // before everything else

export { createServer, type ImageServer } from "./create-server.js";
export type { ServerLoras } from "./model-store.js";
export type { ImagePipeline, ModelSource, ServerModels } from "./models.js";
export type { ServerOptions } from "./options.js";
export { type EditsPluginOptions, editsPlugin } from "./plugin.js";
