/** How prompts are read: as they are, or with weights in Compel's grammar. */
export const PROMPT_WEIGHTINGS = ["none", "compel"] as const;
/** How a prompt's text is read: as it is, or with weights in Compel's grammar. */
export type PromptWeighting = (typeof PROMPT_WEIGHTINGS)[number];
