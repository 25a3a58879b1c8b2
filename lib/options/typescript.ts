import type { OptionDeclaration, OptionDeclarations } from "./declaration.js";
import { groupOptions, wrap } from "./help.js";
import { camelCase } from "./names.js";
import { rangeOf } from "./value.js";

/** Columns of the generated comments. */
const COLUMNS = 116;

/**
 * The options that a program passes as an interface whose members have comments, which editors show; a type that is
 * derived from the declarations has none.
 *
 * @param doc comment of the interface
 */
export function optionInterface(name: string, declarations: OptionDeclarations, doc: string): string {
  const options = [...groupOptions(declarations).values()].flat();
  const members = options.map(([option, declaration]) => {
    const type = typeOf(declaration);
    const member = declaration.required
      ? `${camelCase(option)}: ${type};`
      : `${camelCase(option)}?: ${type} | undefined;`;
    return [...comment(textOf(declaration, declarations), "  "), `  ${member}`].join("\n");
  });
  return [...comment(doc, ""), `export interface ${name} {`, ...members, "}"].join("\n");
}

function comment(text: string, indent: string): string[] {
  const line = `${indent}/** ${text} */`;
  if (line.length <= COLUMNS) return [line];
  return [
    `${indent}/**`,
    ...wrap(text, COLUMNS - indent.length - 3).map((each) => `${indent} * ${each}`),
    `${indent} */`,
  ];
}

const TYPES = {
  string: "string",
  boolean: "boolean",
  integer: "number",
  number: "number",
  numbers: "readonly number[]",
  strings: "readonly string[]",
  bigint: "number | bigint",
} as const;

function typeOf({ type, choices, orFactor }: OptionDeclaration): string {
  const plain = choices ? choices.map((choice) => JSON.stringify(choice)).join(" | ") : TYPES[type];
  return orFactor ? `${plain} | FactorOfStep` : plain;
}

/** The help as sentences, with names of options as the interface has them. */
function textOf(declaration: OptionDeclaration, declarations: OptionDeclarations): string {
  const { help, default: fallback, type, orFactor, min, max } = declaration;
  const text = help.replace(/\w+/g, (word) => (Object.hasOwn(declarations, word) ? camelCase(word) : word));
  const sentences = [`${text[0]!.toUpperCase()}${text.slice(1)}.`];
  if (orFactor) sentences.push("A function gives the factor for every step itself, so that no other option shapes it.");
  if (min !== undefined || max !== undefined)
    sentences.push(`A ${type === "number" || type === "numbers" ? "number" : "whole number"}${rangeOf(declaration)}.`);
  const known = fallback ?? (type === "boolean" ? false : undefined);
  if (known !== undefined) sentences.push(`Default ${JSON.stringify(known)}.`);
  return sentences.join(" ");
}
