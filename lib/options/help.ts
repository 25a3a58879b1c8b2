import type { OptionDeclaration, OptionDeclarations } from "./declaration.js";
import { rangeOf } from "./value.js";

/** The default heading of options. */
const OTHER = "Options";
/** Columns of the left half of the list. */
const LEFT_MOST = 30;

/** Options in the order of their groups' first appearance; the required ones come first, under a heading of their own. */
export function groupOptions(declarations: OptionDeclarations): Map<string, [name: string, OptionDeclaration][]> {
  const groups = new Map<string, [string, OptionDeclaration][]>();
  const entries = Object.entries(declarations);
  const required = entries.filter(([, { required }]) => required);
  if (required.length > 0) groups.set("Required", required);
  for (const entry of entries) {
    if (entry[1].required) continue;
    const heading = entry[1].group ?? OTHER;
    groups.set(heading, [...(groups.get(heading) ?? []), entry]);
  }
  return groups;
}

/** How a flag is written: `--seed N`, `--dtype float32|bfloat16`, `--no_progress`. */
export function flagText(name: string, declaration: OptionDeclaration): string {
  if (declaration.type === "boolean") return declaration.default === true ? `--no_${name}` : `--${name}`;
  return `--${name} ${valueName(declaration)}`;
}

const PLACEHOLDERS = {
  string: "TEXT",
  boolean: "",
  integer: "N",
  bigint: "N",
  number: "X",
  numbers: "X,…",
  strings: "TEXT",
} as const;

function valueName({ type, value, choices }: OptionDeclaration): string {
  return value ?? choices?.join("|") ?? PLACEHOLDERS[type];
}

/** The help text followed by the declaration's limits and default. */
export function fullHelp(declaration: OptionDeclaration): string {
  const { help, default: fallback, type, value, choices } = declaration;
  const notes = [
    // The choices are shown in the flag unless it has another placeholder.
    ...(choices && value !== undefined ? [choices.join(", ")] : []),
    ...(declaration.min !== undefined || declaration.max !== undefined
      ? [rangeOf(declaration).replace(/^ (of )?/, "")]
      : []),
    ...(fallback !== undefined && type !== "boolean" ? [`default ${fallback}`] : []),
  ];
  return notes.length > 0 ? `${help} (${notes.join("; ")})` : help;
}

/** `ip2p edit --model DIR … [options]` */
export function usageLine(command: string, declarations: OptionDeclarations): string {
  const entries = Object.entries(declarations);
  const required = entries.filter(([, { required }]) => required).map(([name, option]) => flagText(name, option));
  return [command, ...required, ...(required.length < entries.length ? ["[options]"] : [])].join(" ");
}

/** The list of options for a terminal, wrapped to `columns`. */
export function listOptions(declarations: OptionDeclarations, columns: number): string {
  const groups = [...groupOptions(declarations)];
  const rows = groups.flatMap(([, options]) => options.map(([name, option]) => flagText(name, option).length + 2));
  const left = Math.min(LEFT_MOST, Math.max(0, ...rows));
  return groups
    .map(([heading, options]) => {
      const lines = options.flatMap(([name, option]) =>
        row(`  ${flagText(name, option)}`, fullHelp(option), left, columns),
      );
      return [`${heading}:`, ...lines].join("\n");
    })
    .join("\n\n");
}

function row(flag: string, help: string, left: number, columns: number): string[] {
  const indent = left + 2;
  const lines = wrap(help, Math.max(20, columns - indent));
  if (flag.length > left) return [flag, ...lines.map((line) => " ".repeat(indent) + line)];
  return lines.map((line, i) => (i === 0 ? flag : "").padEnd(indent) + line);
}

/** Breaks a text into lines of at most `width`, between words; a longer word gets a line of its own. */
export function wrap(text: string, width: number, hang = ""): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line);
      line = hang + word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line];
}
