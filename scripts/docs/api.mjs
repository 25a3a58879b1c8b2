// Writes the docstrings of the public interface into docs/api.md: regenerates everything between
// `<!-- api NAME, NAME, … -->` and `<!-- end of api -->`. Every export must be listed there.

import { join } from "node:path";
import ts from "typescript";

const MARKED = /(<!-- api ([\w, \n]+) -->\n)[\s\S]*?(<!-- end of api -->)/g;

/** The page with everything between its markers regenerated. */
export function pageWithApi(page, root) {
  const exported = readExports(root);
  const written = new Map(); // from names to symbols
  const text = page.replace(MARKED, (_, begin, names, end) => {
    const sections = names.split(",").map((each) => {
      const name = each.trim();
      const symbol = exported.get(name);
      if (!symbol) throw new Error(`docs/api.md has a place for ${name}, which is not exported`);
      const [other] = [...written].find(([, each]) => each === symbol) ?? [];
      written.set(name, symbol);
      if (other) return `### ${name}\n\nAnother name of \`${other}\`, the one that diffusers has.`;
      return describe(name, symbol, exported.checker);
    });
    return `${begin}\n${sections.join("\n\n")}\n\n${end}`;
  });
  const missing = [...exported.keys()].filter((name) => !written.has(name));
  if (missing.length > 0) throw new Error(`docs/api.md has no place for ${missing.join(", ")}`);
  return text;
}

function readExports(root) {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const { options } = ts.getParsedCommandLineOfConfigFile(join(root, "tsconfig.json"), {}, host);
  const program = ts.createProgram([join(root, "lib", "index.ts")], options);
  const checker = program.getTypeChecker();
  const index = checker.getSymbolAtLocation(program.getSourceFile(join(root, "lib", "index.ts")));
  const exported = new Map();
  for (const symbol of checker.getExportsOfModule(index)) {
    const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0;
    exported.set(symbol.name, isAlias ? checker.getAliasedSymbol(symbol) : symbol);
  }
  return Object.assign(exported, { checker });
}

/** A section: the docstring, then the signature, the members or the type. */
function describe(name, symbol, checker) {
  const [declaration] = symbol.declarations;
  const parts = [`### ${name}`];
  const text = docstring(symbol, checker);
  if (text) parts.push(text);
  parts.push(...examplesOf(symbol, checker));
  if (ts.isClassDeclaration(declaration)) parts.push(...classTable(name, symbol, declaration, checker));
  else if (ts.isInterfaceDeclaration(declaration)) parts.push(...memberTable(symbol, checker));
  else if (ts.isFunctionDeclaration(declaration)) parts.splice(1, 0, code(signature(name, declaration, checker)));
  else if (ts.isTypeAliasDeclaration(declaration)) parts.push(...aliasText(symbol, declaration, checker));
  return parts.join("\n\n");
}

function classTable(name, symbol, declaration, checker) {
  // Every scheduler has the members of Scheduler.
  const base = declaration.heritageClauses?.[0]?.types[0]?.expression.getText();
  if (/Scheduler$/.test(base ?? "")) return [];
  const ofClass = checker.getTypeOfSymbolAtLocation(symbol, declaration);
  const statics = checker.getPropertiesOfType(ofClass);
  const members = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol));
  // A class without a constructor has that of its base.
  const constructors = ofClass
    .getConstructSignatures()
    .flatMap((each) => each.declaration ?? [])
    .filter((each) => ts.isConstructorDeclaration(each) && isOwn(each))
    .slice(0, 1);
  const isAbstract = (ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Abstract) !== 0;
  const rows = [
    ...constructors
      .filter((each) => !isAbstract && isPublic(each) && !ts.getJSDocTags(each).some(isInternal))
      .map((each) => [signature(`new ${name}`, each, checker), commentOf(each)]),
    ...statics.flatMap((member) => memberRows(member, checker, { name, isAbstract, constructors })),
    ...members.flatMap((member) => memberRows(member, checker)),
  ];
  return table("member", rows);
}

function memberTable(symbol, checker) {
  const members = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol));
  const rows = members.flatMap((member) => memberRows(member, checker));
  return table(rows.some(([, text]) => /default/i.test(text)) ? "option" : "member", rows);
}

function table(kind, rows) {
  if (rows.length === 0) return [];
  const lines = rows.map(
    (cells) => `| ${cells.map((cell, i) => inCell(i === 0 ? `\`${cell}\`` : cell)).join(" | ")} |`,
  );
  return [[`| ${kind} | |`, "| --- | --- |", ...lines].join("\n")];
}

/** @param owner the class of a static member */
function memberRows(member, checker, owner) {
  const declarations = (member.declarations ?? []).filter((each) => isOwn(each) && isPublic(each));
  if (declarations.length === 0 || !/^[a-z]\w*$/i.test(member.name) || member.name === "prototype") return [];
  if (declarations.some((each) => ts.getJSDocTags(each).some(isInternal))) return [];
  const [first] = declarations;
  // The last declaration of an overloaded method is its implementation.
  const isMethod = ts.isMethodDeclaration(first) || ts.isMethodSignature(first);
  const shown = isMethod && declarations.length > 1 ? declarations.slice(0, -1) : [first];
  const text = docstring(member, checker);
  return shown
    .filter((each) => !owner || isCallableOn(each, owner, checker))
    .map((each) => {
      const written = isMethod ? signature(member.name, each, checker) : property(member, each, checker);
      return [owner ? `${owner.name}.${specific(written, each, checker, owner)}` : written, text];
    });
}

/** Whether the `this` of a static method is any class, or this one: one class alone, or those that can be constructed. */
function isCallableOn(declaration, { name, isAbstract }, checker) {
  const self = selfOf(declaration);
  if (!self || checker.getTypeAtLocation(self).isTypeParameter()) return true;
  return ts.isTypeQueryNode(self.type) ? self.type.exprName.getText() === name : !isAbstract;
}

function selfOf(declaration) {
  return declaration.parameters?.find((each) => each.name.getText() === "this");
}

/**
 * A static method of a base whose `this` is the class that it is called on: with that class, and what it is constructed of,
 * in place of the type parameters.
 */
function specific(written, declaration, checker, { name, constructors }) {
  const self = selfOf(declaration);
  const [made] = self ? checker.getTypeAtLocation(self).getConstructSignatures() : [];
  if (!made) return written;
  const types = [[made.getReturnType(), name]];
  const [part] = made.getParameters();
  const [own] = constructors.flatMap((each) => each.parameters[0]?.type?.getText() ?? []);
  if (part && own) types.push([checker.getTypeOfSymbolAtLocation(part, declaration), own]);
  return types
    .filter(([type]) => type.isTypeParameter())
    .reduce((text, [type, to]) => text.replace(new RegExp(`\\b${type.symbol.name}\\b`, "g"), to), written);
}

function isInternal(tag) {
  return tag.tagName.text === "internal";
}

/** Declared in this package. */
function isOwn(declaration) {
  return !declaration.getSourceFile().fileName.includes("node_modules");
}

function isPublic(declaration) {
  return (ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) === 0;
}

function property(member, declaration, checker) {
  const optional = (member.flags & ts.SymbolFlags.Optional) !== 0 ? "?" : "";
  const written = declaration.type?.getText() ?? inferred(declaration, checker);
  // The question mark already shows it.
  const type = optional ? written.replace(/\s*\| undefined$/, "").replace(/^\(([\s\S]*)\)$/, "$1") : written;
  return `${member.name}${optional}: ${oneLine(type)}`;
}

function inferred(declaration, checker) {
  return checker.typeToString(checker.getTypeAtLocation(declaration));
}

function signature(name, declaration, checker) {
  const parameters = declaration.parameters
    .filter((each) => each.name.getText() !== "this")
    .map((each) => {
      const optional = each.questionToken || each.initializer ? "?" : "";
      // A destructured parameter has no name.
      const label = ts.isIdentifier(each.name) ? each.name.text.replace(/^_/, "") : "options";
      return `${label}${optional}: ${each.type?.getText() ?? inferred(each, checker)}`;
    });
  const result = declaration.type ? `: ${declaration.type.getText()}` : "";
  return oneLine(`${name}(${parameters.join(", ")})${result}`);
}

function aliasText(symbol, declaration, checker) {
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  const members = checker.getPropertiesOfType(type).map(({ name }) => `\`${name}\``);
  const all = declaration.getSourceFile().text;
  const trailing = ts.getTrailingCommentRanges(all, declaration.end) ?? [];
  const comments = trailing.map(({ pos, end }) => ` ${all.slice(pos, end)}`);
  const source = declaration.type.getText() + comments.join("");
  // For a type derived from another declaration, the keys say more than its name.
  if (source.includes("typeof") && !type.isUnion()) return [`Keys: ${members.join(", ")}.`];
  if (source.includes("typeof")) return [code(checker.typeToString(type, undefined, ts.TypeFormatFlags.InTypeAlias))];
  return [code(/\/[/*]/.test(source) ? source.replace(/^ +/gm, "") : oneLine(source).replace(/^\| /, ""))];
}

function code(text) {
  return ["```text", text, "```"].join("\n");
}

const WORDS = {
  param: (name, text) => `\`${name}\`: ${text}`,
  returns: (_, text) => `Gives ${text}`,
  throws: (_, text) => `Throws ${text}`,
};

/** A docstring's text, parameters, result and errors, one paragraph each. */
function docstring(symbol, checker) {
  const text = ts.displayPartsToString(symbol.getDocumentationComment(checker));
  const tags = symbol.getJsDocTags(checker).flatMap(({ name, text: parts = [] }) => {
    const words = WORDS[name];
    if (!words) return [];
    const [, label, rest] = /^([\w.]*)\s*(?:-\s*)?([\s\S]*)$/.exec(ts.displayPartsToString(parts));
    return [sentence(name === "param" ? words(label, rest) : words("", ts.displayPartsToString(parts)))];
  });
  const paragraphs = text
    .split(/\n\s*\n/)
    .map(oneLine)
    .filter(Boolean);
  const last = [paragraphs.pop(), ...tags].filter(Boolean).map(sentence).join(" ");
  return linked([...paragraphs, last].join("\n\n"));
}

/** The examples of a docstring that are whole programs, in fences, which tests run. */
function examplesOf(symbol, checker) {
  return symbol
    .getJsDocTags(checker)
    .filter(({ name }) => name === "example")
    .map(({ text = [] }) => ts.displayPartsToString(text).trim())
    .filter((text) => text.startsWith("```"));
}

function commentOf(declaration) {
  const [comment] = ts.getJSDocCommentsAndTags(declaration);
  return comment && ts.isJSDoc(comment) ? linked(sentence(ts.getTextOfJSDocComment(comment.comment) ?? "")) : "";
}

function sentence(text) {
  const line = oneLine(text);
  return line === "" || /[.:!?]$/.test(line) ? line : `${line}.`;
}

function linked(text) {
  return text.replace(/\{@link ([\w.]+)\s*\}/g, "`$1`").trim();
}

function oneLine(text) {
  return text
    .replace(/\/\*\*[\s\S]*?\*\//g, "")
    .replace(/\s+/g, " ")
    .trim();
}

function inCell(text) {
  return text.replaceAll("|", "\\|").replace(/\n+/g, " ");
}
