/** The labels in use, in their order: an index is a label's colour and its number key. */
const KEY = "sam-edge.labels";
export const DEFAULT_LABEL = "object";

export function rememberedLabels(): string[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    if (Array.isArray(stored)) return stored.filter((name) => typeof name === "string");
  } catch {
    // Storage is switched off or holds something else: start anew.
  }
  return [];
}

export function rememberLabels(labels: readonly string[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(labels));
  } catch {
    // Labels are in the annotations as well; only their order is lost.
  }
}

/** Known labels first, so that their colours and keys stay; new ones after them. */
export function withLabels(labels: readonly string[], more: Iterable<string>): readonly string[] {
  const added = [...more].filter((name) => !labels.includes(name));
  return added.length ? [...labels, ...new Set(added)] : labels;
}
