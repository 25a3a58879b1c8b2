/** What a prompt in Compel's grammar is made of, before weights are multiplied out. */
export type PromptNode =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "attention"; readonly weight: number; readonly children: readonly PromptNode[] }
  | { readonly kind: "swap"; readonly original: readonly PromptNode[] }
  | { readonly kind: "lora"; readonly name: string };

/** Prompts whose embeddings are averaged, or a single one. */
export type PromptPart =
  | { readonly kind: "prompt"; readonly nodes: readonly PromptNode[] }
  | {
      readonly kind: "blend";
      readonly prompts: readonly (readonly PromptNode[])[];
      readonly options: readonly PromptOption[];
    };

/** What stands between the parentheses of an operator: `0.5`, `no_normalize`, `name=value`. */
export interface PromptOption {
  readonly name: string;
  readonly value: string | undefined;
}

/** Parts whose embeddings are put one behind the other, with the options of `.and()`. */
export interface PromptTree {
  readonly parts: readonly PromptPart[];
  readonly options: readonly PromptOption[];
  /** What follows an `.and()`, which the grammar has no meaning for. */
  readonly ignored: string;
}
