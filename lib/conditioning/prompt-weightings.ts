/** How prompts are read: as they are, or with weights in Compel's grammar. */
export const PROMPT_WEIGHTINGS = ["none", "compel"] as const;
export type PromptWeighting = (typeof PROMPT_WEIGHTINGS)[number];
