/** The browser's own storage, which outlives the page and the browser. */
export class Database {
  private opening: Promise<IDBDatabase> | null = null;

  constructor(
    private readonly name: string,
    private readonly stores: readonly string[],
  ) {}

  /** Do work in one transaction; what it asked for is kept as a whole or, where it throws, not at all. */
  async run<T>(mode: IDBTransactionMode, work: (stores: IDBObjectStore[]) => Promise<T>): Promise<T> {
    const transaction = (await this.open()).transaction([...this.stores], mode);
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser's storage gave up"));
    });
    done.catch(() => undefined); // reported below, unless the work itself failed
    try {
      const result = await work(this.stores.map((name) => transaction.objectStore(name)));
      await done;
      return result;
    } catch (error) {
      if (transaction.error === null) abort(transaction);
      throw error;
    }
  }

  private open(): Promise<IDBDatabase> {
    this.opening ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(this.name, 1);
      request.onupgradeneeded = () => this.stores.forEach((name) => request.result.createObjectStore(name));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return this.opening;
  }
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // it is over already
  }
}

/** What a request answers. */
export function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
