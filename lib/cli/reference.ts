import { usageLine } from "../options/help.js";
import { optionTable, optionTables } from "../options/markdown.js";
import { SCHEDULER_NAMES } from "../schedulers/registry.js";
import { COMMANDS } from "./commands.js";
import { editOptions } from "./edit/options.js";

const INTRODUCTION = `# The command line

<!-- Written by scripts/write-docs.mjs from the declarations in lib/cli. Edit those, then run it. -->

\`ip2p COMMAND --help\` prints the same. In a clone, and in a folder where the package is installed, it is
\`npx ip2p\`.

Names of options can be written with underscores, as in diffusers' scripts, or with dashes. A value follows its option or
is attached with \`=\`; one that begins with a dash and is no number is attached. Of an option given twice the last one
counts. Any option that is on or off can be negated: \`--no_grid\`. Names are not abbreviated.

The exit status is 0 for success, 1 for a failure, 2 for a command line that cannot be understood, and 128 plus the
signal's number after Ctrl-C (130) or SIGTERM (143). An error is one line on standard error that says what is wrong and
where; \`--verbose\` adds the stack.

With \`--json\`, commands that take a while print one JSON object per line on standard output, each with an \`event\`; the last
one is \`done\` or \`error\`. \`--quiet\` leaves only the last line, \`--no_progress\` omits progress events: those that only report how far something
is. An integer that a double cannot hold, such as a large seed, is a string.`;

/** The events of a command that makes images. */
function pictureEvents(command: string): [event: string, fields: string][] {
  return [
    [
      "`downloading`",
      "`file`, `downloaded_bytes`, `total_bytes`, and of all missing files `all_downloaded_bytes`, `all_total_bytes`",
    ],
    ["`loading`", "`folder` of the model, or its file"],
    ["`loaded`", "`seconds` it took, and `num_inference_steps` that are asked for"],
    [
      "`stage`",
      "`stage` that begins or is done, load, encode, denoise or decode, and its `fraction` from 0 to 1 (null where it is not known)",
    ],
    ["`step`", "`step` from 1 to `total_steps`, `timestep`, `steps_per_second` (null for the first)"],
    ["`note`, `warning`, `detail`", "`message`; details only with `--verbose`"],
    [
      "`done`",
      `\`outputs\` (the files), \`pipeline\` (its class), \`width\`, \`height\`, \`seed\`, \`scheduler\`, \`device\`, \`dtype\`, \`steps\`, \`steps_per_second\`, \`load_seconds\`, \`${command}_seconds\`, \`total_seconds\`, \`peak_memory_bytes\`, with a safety checker \`nsfw\` (for each image, whether it was replaced by a black one), on CUDA \`peak_device_memory_bytes\` (the most that tensors held)`,
    ],
    ["`error`", "`code`, `message`"],
  ];
}

/** The events that long-running commands print for `--json`. */
const JSON_EVENTS: Record<string, [event: string, fields: string][]> = {
  edit: pictureEvents("edit"),
  generate: pictureEvents("generate"),
  train: [
    ["`loading`", "`what` is loaded"],
    ["`preparing`", "`stage` (`download` in bytes, `unpack` in rows), `done`, `total`"],
    ["`caching`", "`done` and `total` pairs whose latents are in the cache"],
    ["`started`", "`total_steps`, `step` that was reached before, `epochs`, `rows`, `seed`, `device`"],
    ["`resumed`", "`checkpoint`, its `step`"],
    ["`step`", "as a line of metrics.jsonl: see [what is written](training.md#what-is-written)"],
    ["`checkpoint`", "`path`, `step`, `seconds`"],
    ["`validation`", "`step`, `files`"],
    ["`warning`", "`message`"],
    ["`saved`", "`path` of the model"],
    ["`publishing`", "`repository`, `file`, `done_bytes`, `total_bytes`"],
    ["`published`", "`repository`, `commit`, `url`"],
    ["`done`", "`output_dir`, `step`, `train_loss` (of the last step), `seed`, `skipped_rows`"],
    ["`error`", "`code`, `message`"],
  ],
  "make-dataset": [
    ["`progress`", "`done`, `total`; about a hundred times"],
    ["`warning`", "`message`"],
    [
      "`done`",
      "`output`, `format`, `rows`, `seconds`; of drawn pairs `seed`, `size`; of photographs `photos` (how many), `other_photos` (on the other side of `--held_out`), `unusable_photos`, `seed`, `resolution`; of others `from`, `skipped_rows`, `left_out_columns`",
    ],
    ["`error`", "`code`, `message`"],
  ],
  evaluate: [
    ["`progress`", "`done`, `total`; about a hundred times"],
    ["`warning`", "`message`"],
    [
      "`done`",
      "`seconds`; of pairs `points` (the means for each image guidance scale: see [evaluation](evaluation.md#what-is-measured)), `rows`, `skipped_rows`, `files`; of the drawn world `success`, `count`, `outside`, `families`",
    ],
    ["`error`", "`code`, `message`"],
  ],
  "check-dataset": [
    ["`progress`", "`done`, `total`; about a hundred times"],
    ["`warning`", "`message`"],
    ["`done`", "what [`checkDataset`](api.md#checkdataset) gives, with names in snake_case, and `seconds`"],
    ["`error`", "`code`, `message`"],
  ],
};

const DEFAULTS =
  "Some defaults differ from those in a program: see [the table of these](api.md#defaults-of-the-command-line).";

/** docs/cli.md. */
export async function commandLineReference(): Promise<string> {
  const sections = [INTRODUCTION];
  for (const { load } of COMMANDS) {
    const { name, summary, description = [], examples, options } = await load();
    sections.push(`## ip2p ${name}`, sentence(summary), ...description);
    sections.push(["```sh", usageLine(`ip2p ${name}`, options), ...(examples ?? []), "```"].join("\n"));
    sections.push(optionTables(options));
    if (name === "edit") sections.push(DEFAULTS, schedulers());
    if (JSON_EVENTS[name]) sections.push(jsonEvents(name, JSON_EVENTS[name]));
  }
  return `${sections.join("\n\n")}\n`;
}

/** The README with its generated tables of commands and options, between marker comments. */
export function readmeWithTables(readme: string): string {
  const tables = { commands: commandTable(), "options of ip2p edit": optionTable(editOptions) };
  return Object.entries(tables).reduce((text, [what, table]) => {
    const marked = new RegExp(`(<!-- ${what} -->\\n)[\\s\\S]*?(<!-- end of ${what.split(" ")[0]} -->)`);
    if (!marked.test(text)) throw new Error(`README.md has no place for the ${what}`);
    return text.replace(marked, (_, begin: string, end: string) => `${begin}\n${table}\n\n${end}`);
  }, readme);
}

function commandTable(): string {
  const rows = COMMANDS.map(({ name, summary }) => `| \`ip2p ${name}\` | ${summary} |`);
  return ["| command | |", "| --- | --- |", ...rows].join("\n");
}

function jsonEvents(command: string, events: [event: string, fields: string][]): string {
  const rows = events.map(([event, fields]) => `| ${event} | ${fields} |`);
  return [`### Output of \`ip2p ${command} --json\``, ["| event | fields |", "| --- | --- |", ...rows].join("\n")].join(
    "\n\n",
  );
}

function schedulers(): string {
  const list = SCHEDULER_NAMES.map((name) => `\`${name}\``).join(", ");
  return `### Schedulers\n\nWhat \`--scheduler\` takes: ${list}.`;
}

function sentence(summary: string): string {
  return `${summary[0]!.toUpperCase()}${summary.slice(1)}.`;
}
