import { basename } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { snakeCase } from "../../options/names.js";
import { launchOptions } from "./options.js";

/** diffusers' training scripts, which `ip2p train` stands for. */
const SCRIPTS = ["train_instruct_pix2pix.py", "train_instruct_pix2pix_sdxl.py"];

/**
 * Splits the arguments of `ip2p launch` into its own and the command that it starts.
 *
 * @throws `ERR_USAGE` if there is no command, or a script that is not one of diffusers' for this model
 */
export function splitCommand(argv: readonly string[]): { own: string[]; passedOn: string[] } {
  let at = 0;
  while (at < argv.length && argv[at]!.startsWith("--") && argv[at] !== "--") at += takesNext(argv[at]!) ? 2 : 1;
  const own = argv.slice(0, at);
  let [name, ...rest] = argv.slice(argv[at] === "--" ? at + 1 : at);
  if (name === "ip2p") [name, ...rest] = rest;
  if (name === undefined)
    throw new InstructPix2PixError(
      "ERR_USAGE",
      "behind the options comes what is started, such as train_instruct_pix2pix.py or train",
    );
  if (SCRIPTS.includes(basename(name))) return { own, passedOn: ["train", ...rest] };
  if (name.endsWith(".py"))
    throw new InstructPix2PixError("ERR_USAGE", `${quote(name)} cannot be started; ${SCRIPTS.join(" and ")} can`);
  return { own, passedOn: [name, ...rest] };
}

/** Whether the flag's value is the next argument. */
function takesNext(argument: string): boolean {
  if (argument.includes("=")) return false;
  const name = snakeCase(argument.slice(2)) as keyof typeof launchOptions;
  return Object.hasOwn(launchOptions, name) && launchOptions[name].type !== "boolean";
}
