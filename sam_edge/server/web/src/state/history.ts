/** Undo and redo without end: prompts and masks are one value, so they go back together. */
export interface History<T> {
  readonly past: readonly T[];
  readonly present: T;
  readonly future: readonly T[];
}

export function started<T>(present: T): History<T> {
  return { past: [], present, future: [] };
}

export function pushed<T>({ past, present }: History<T>, next: T): History<T> {
  return { past: [...past, present], present: next, future: [] };
}

/** Replace the present without a step of its own, as when it was only looked at differently. */
export function replaced<T>(history: History<T>, present: T): History<T> {
  return { ...history, present };
}

export function undone<T>(history: History<T>): History<T> {
  const { past, present, future } = history;
  if (past.length === 0) return history;
  return { past: past.slice(0, -1), present: past[past.length - 1], future: [present, ...future] };
}

export function redone<T>(history: History<T>): History<T> {
  const { past, present, future } = history;
  if (future.length === 0) return history;
  return { past: [...past, present], present: future[0], future: future.slice(1) };
}
