import { fileURLToPath } from "node:url";

/**
 * The folder of the small model that comes with this package, for `fromPretrained`: it edits 64×64 pictures of simple
 * shapes (`ip2p make-dataset --world` draws such), is loaded in a moment, and is there without a network. For trying things
 * out, for tests and for servers' health checks; pictures of the real world are beyond it.
 */
export const builtInModel: string = fileURLToPath(new URL("../../models/tiny", import.meta.url));
