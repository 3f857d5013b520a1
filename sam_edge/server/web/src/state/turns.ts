/** Long work in turns, so that clicks and frames come in between. */

/** Of the main thread, at once: what is left of a frame. */
const TURN_MS = 12;

/** `items.map(work)`, given up after each turn for what waits. */
export async function inTurns<T, U>(items: readonly T[], work: (item: T) => U): Promise<U[]> {
  const result: U[] = [];
  let until = performance.now() + TURN_MS;
  for (const item of items) {
    if (performance.now() > until) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      until = performance.now() + TURN_MS;
    }
    result.push(work(item));
  }
  return result;
}
