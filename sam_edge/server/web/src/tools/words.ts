/** Words: what a phrase names becomes objects with that label. */
import type { App } from "../app";
import { isAbort } from "../api/errors";
import { decodeCoco } from "../mask/rle";
import { type Item, NO_PROMPT, newItem } from "../state/document";

let running = new AbortController();

/** "a mug, a plate" names two kinds of things. */
export function phrasesOf(text: string): string[] {
  return [...new Set(text.split(",").map((phrase) => phrase.trim()))].filter((phrase) => phrase !== "");
}

/** Find what phrases name, and keep it: one step, which undo takes back. */
export function find(app: App, text: string): Promise<void> {
  const phrases = phrasesOf(text);
  const { photo } = app.state;
  const { search } = app.backend;
  if (!search || !photo || phrases.length === 0) return Promise.resolve();
  running.abort();
  const { signal } = (running = new AbortController());
  app.tell(`Looking for ${phrases.join(", ")}…`);
  return app.next(async (stillHere) => {
    try {
      const masks = await search.words({ photo: photo.id, phrases }, signal);
      if (!stillHere()) return;
      if (masks.length === 0) return app.tell(`Nothing found for ${phrases.join(", ")}.`);
      const items = masks.map(({ rle, label, score, stability, prompt, box_score }): Item => {
        const rest = { score, stability, prompt: { ...NO_PROMPT, box: prompt }, extra: { box_score } };
        return newItem(decodeCoco(rle), label, rest);
      });
      app.commit({ items: [...app.doc.items, ...items], active: null });
      app.tell(items.length === 1 ? "Found 1 object." : `Found ${items.length} objects.`);
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
  });
}
