import type { OptionDeclaration, OptionDeclarations } from "./declaration.js";
import { flagText, fullHelp, groupOptions } from "./help.js";

/** The options as tables, one for each group, for the documentation. */
export function optionTables(declarations: OptionDeclarations, headingLevel = 3): string {
  return [...groupOptions(declarations)]
    .map(([heading, options]) => `${"#".repeat(headingLevel)} ${heading}\n\n${table(options)}`)
    .join("\n\n");
}

/** The options as one table, in the same order. */
export function optionTable(declarations: OptionDeclarations): string {
  return table([...groupOptions(declarations).values()].flat());
}

function table(options: readonly [name: string, OptionDeclaration][]): string {
  const rows = options.map(([name, option]) => {
    return `| \`${escapePipes(flagText(name, option))}\` | ${escapePipes(fullHelp(option))} |`;
  });
  return ["| option | |", "| --- | --- |", ...rows].join("\n");
}

function escapePipes(text: string): string {
  return text.replaceAll("|", "\\|");
}
