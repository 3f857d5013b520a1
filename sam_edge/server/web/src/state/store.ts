/** One value that all of the page shows, and who wants to know when it is another. */
export class Store<S extends object> {
  private readonly listeners: ((state: S, before: S) => void)[] = [];
  private before: S;
  private scheduled = false;

  constructor(public state: S) {
    this.before = state;
  }

  /** Change some fields; listeners hear of it once, at the end of the current turn. */
  set(patch: Partial<S>): void {
    this.state = { ...this.state, ...patch };
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      const { before, state } = this;
      this.before = state;
      for (const listener of this.listeners) listener(state, before);
    });
  }

  subscribe(listener: (state: S, before: S) => void): void {
    this.listeners.push(listener);
  }
}
