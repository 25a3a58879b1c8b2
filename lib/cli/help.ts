import { listOptions, usageLine, wrap } from "../options/help.js";
import type { AnyCommand } from "./command.js";
import type { CommandEntry } from "./commands.js";

/** What `ip2p --help` prints. */
export function overview(commands: readonly CommandEntry[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  return [
    "ip2p edits images by instruction (InstructPix2Pix), makes new ones (Stable Diffusion), and trains models.",
    "",
    "Usage: ip2p COMMAND [options]",
    "",
    "Commands:",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "  ip2p COMMAND --help   the options of a command",
    "  ip2p --version        the version of this package",
  ].join("\n");
}

/** What `ip2p COMMAND --help` prints, wrapped to `columns`. */
export function commandHelp({ name, summary, description, examples, options }: AnyCommand, columns: number): string {
  const sentence = `${summary[0]!.toUpperCase()}${summary.slice(1)}.`;
  const paragraphs = [sentence, ...(description ?? [])].map((text) => wrap(text, columns).join("\n"));
  return [
    wrap(`Usage: ${usageLine(`ip2p ${name}`, options)}`, columns, "         ").join("\n"),
    ...paragraphs,
    listOptions(options, columns),
    ...(examples ? [["Examples:", ...examples.map((line) => `  ${line}`)].join("\n")] : []),
    "Names can be written with dashes too: --num-images-per-prompt is --num_images_per_prompt.",
  ].join("\n\n");
}
