/** An element in the page: of no type here, where there is no DOM. */
// biome-ignore lint/suspicious/noExplicitAny: of another environment
type Element = any;

export function findings(): Promise<string[]>;
export function bytesOf(image: Element): Promise<number[]>;
export function clipOf(image: Element): string;
export function groundOf(): string;
export function widthOf(): number;
export function paintedOf(canvas: Element): number;
export function give(given: readonly ["drop" | "paste", string?]): Promise<void>;
export function recordForms(): void;
export function recordedForms(): string[][];
