/** Turns prompts into masks away from the main thread. Of hovers the latest wins. */
import { ApiError, isAbort, reason } from "../api/errors";
import type { EmbeddingInfo } from "../api/types";
import { isEmpty } from "../mask/region";
import type { Decoder } from "./decoder";
import { PageAlone } from "./page_alone";
import type { FromWorker, ToWorker } from "./protocol";
import { TwoWays } from "./two_ways";

/** A hover that waits longer than this is given up for a newer one. */
const STALE_MS = 150;
/** How long hovering must rest before the page's own decoder is warmed up beside it. */
const QUIET_MS = 700;

let decoder: Decoder;
let embedding: EmbeddingInfo | null = null;
let pending: Extract<ToWorker, { kind: "hover" }> | null = null;
let current: { since: number; controller: AbortController } | null = null;
let lastMove = 0;

const post = (message: FromWorker): void => {
  const transfer: Transferable[] = [];
  if ((message.kind === "hover" || message.kind === "keep") && message.answer) {
    for (const { region } of message.answer.candidates) {
      if (isEmpty(region)) continue; // shared by all that are empty
      transfer.push(region.start.buffer, region.rows.buffer);
    }
  }
  self.postMessage(message, { transfer: [...new Set(transfer)] });
};

self.onmessage = (event: MessageEvent<ToWorker>): void => {
  const message = event.data;
  if (message.kind === "open") {
    const { source, model } = message;
    decoder =
      source.kind === "server"
        ? new TwoWays(source, model, STALE_MS, (times) => post({ kind: "routes", times }))
        : new PageAlone(source, model, (times) => post({ kind: "routes", times }));
  } else if (message.kind === "photo") {
    embedding = message.embedding;
    pending = null;
    current?.controller.abort();
    if (embedding) prepare(embedding);
  } else if (message.kind === "hover") {
    lastMove = performance.now();
    if (pending) post({ kind: "hover", id: pending.id, answer: null });
    pending = message;
    if (!current) void pump();
    else if (lastMove - current.since > STALE_MS) current.controller.abort();
  } else if (message.kind === "still") {
    if (pending) post({ kind: "hover", id: pending.id, answer: null });
    pending = null;
    current?.controller.abort();
  } else {
    void keep(message);
  }
};

/** Answer hovers one at a time, each time the newest. */
async function pump(): Promise<void> {
  while (pending && embedding) {
    const job = pending;
    const to = embedding;
    pending = null;
    const controller = new AbortController();
    current = { since: performance.now(), controller };
    try {
      const answer = await decoder.hover(job.question, to, job.scale, controller.signal);
      post({ kind: "hover", id: job.id, answer });
    } catch (error) {
      lost(error, to);
      post({ kind: "hover", id: job.id, answer: null });
      // Nothing answers: the next move tries again, but not sooner than the eye would notice.
      if (!isAbort(error)) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // Let moves that came meanwhile in: WebAssembly answers without leaving the event's turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  current = null;
}

async function keep(message: Extract<ToWorker, { kind: "keep" }>): Promise<void> {
  const to = embedding;
  try {
    if (!to) throw new Error("the photo is still being encoded");
    const answer = await decoder.keep(message.question, message.multimask, to);
    post({ kind: "keep", id: message.id, answer });
  } catch (error) {
    const { status, code } = error instanceof ApiError ? error : { status: 0, code: "failed" };
    lost(error, to);
    post({ kind: "failed", id: message.id, status, code, message: reason(error) });
  }
}

/** An embedding that is gone is made again, if it is still the one that is shown. */
function lost(error: unknown, to: EmbeddingInfo | null): void {
  if (error instanceof ApiError && error.code === "no_embedding" && to === embedding) post({ kind: "lost" });
}

function prepare(to: EmbeddingInfo): void {
  lastMove = Math.max(lastMove, performance.now());
  void decoder.prepare(to, async () => {
    while (performance.now() - lastMove < QUIET_MS) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return embedding === to;
  });
}
