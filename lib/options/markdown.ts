import type { OptionDeclarations } from "./declaration.js";
import { flagText, fullHelp, groupOptions } from "./help.js";

/** The options as tables, one for each group, for the documentation. */
export function optionTables(declarations: OptionDeclarations, headingLevel = 3): string {
  return [...groupOptions(declarations)]
    .map(([heading, options]) => {
      const rows = options.map(
        ([name, option]) => `| \`${escapePipes(flagText(name, option))}\` | ${escapePipes(fullHelp(option))} |`,
      );
      return [`${"#".repeat(headingLevel)} ${heading}`, "", "| flag | |", "| --- | --- |", ...rows].join("\n");
    })
    .join("\n\n");
}

function escapePipes(text: string): string {
  return text.replaceAll("|", "\\|");
}
