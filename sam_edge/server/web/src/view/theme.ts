/** Light or dark: as the system says, until someone says otherwise. */
const KEY = "sam-edge.theme";

export function useTheme(): void {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept) document.documentElement.dataset["theme"] = kept;
  } catch {
    // Without storage the system's choice is good enough.
  }
}

export function toggleTheme(): void {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset["theme"] ?? system) === "dark" ? "light" : "dark";
  root.dataset["theme"] = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // It holds until the page is closed.
  }
}
