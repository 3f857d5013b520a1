/** Starts threads of onnxruntime-web so that none misses its first message. */
import thread from "./thread?worker&url";

export const LISTENING = "listening";

/**
 * A worker of onnxruntime-web's own module, to which nothing is posted before it listens. Firefox
 * drops what is posted to a module worker earlier: the thread then never answers, and the page would
 * wait for it for ever.
 */
export class ThreadWorker extends Worker {
  private held: { message: unknown; transfer: Transferable[] }[] | null = [];

  constructor(_: string | URL, options?: WorkerOptions) {
    super(new URL(thread, self.location.href), options);
    const listen = (event: MessageEvent): void => {
      if (event.data !== LISTENING) return;
      event.stopImmediatePropagation();
      this.removeEventListener("message", listen);
      const { held } = this;
      this.held = null;
      for (const { message, transfer } of held ?? []) super.postMessage(message, transfer);
    };
    this.addEventListener("message", listen);
  }

  override postMessage(message: unknown, options?: Transferable[] | StructuredSerializeOptions): void {
    const transfer = Array.isArray(options) ? options : (options?.transfer ?? []);
    if (this.held) this.held.push({ message, transfer });
    else super.postMessage(message, transfer);
  }
}
