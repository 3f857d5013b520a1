/**
 * Turns prompts into masks away from the main thread: asks the server or the page's own decoder,
 * whichever is the faster, and upsamples. Of hovers the latest wins.
 */
import { ApiError, type Connection, isAbort, readFrame, reason, request } from "../api/client";
import type { EmbeddingInfo, ModelInfo, RleAnswer } from "../api/types";
import { type Region, isEmpty } from "../mask/region";
import { decodeCoco } from "../mask/rle";
import { upsample } from "../mask/upsample";
import { PageRoute } from "./page_route";
import { type Question, isLonePoint } from "./prompt";
import type { Answer, Candidate, FromWorker, Route, ToWorker } from "./protocol";
import { RouteChoice } from "./route_choice";

/** A hover that waits longer than this is given up for a newer one. */
const STALE_MS = 150;
/** How long hovering must rest before the page's own decoder is opened beside it. */
const QUIET_MS = 700;
const WARM_UP = 20;
const TRIALS = 5;

let connection: Connection;
let model: ModelInfo;
let threads = 1;
let embedding: EmbeddingInfo | null = null;
const page = new PageRoute();
const routes = new RouteChoice();

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
    ({ connection, model, threads } = message);
  } else if (message.kind === "photo") {
    embedding = message.embedding;
    pending = null;
    current?.controller.abort();
    if (embedding) void prepare(embedding);
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
  } else if (message.kind === "keep") {
    void keep(message);
  } else {
    routes.force(message.route);
    post({ kind: "routes", times: routes.times() });
  }
};

/** Answer hovers one at a time, each time the newest. */
async function pump(): Promise<void> {
  while (pending && embedding) {
    const job = pending;
    pending = null;
    const controller = new AbortController();
    current = { since: performance.now(), controller };
    try {
      const answer = await decoded(job.question, embedding, job.scale, controller.signal);
      post({ kind: "hover", id: job.id, answer });
    } catch (error) {
      if (error instanceof ApiError && error.code === "no_embedding") post({ kind: "lost" });
      post({ kind: "hover", id: job.id, answer: null });
      // Nothing answers: the next move tries again, but not sooner than the eye would notice.
      if (!isAbort(error)) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // Let moves that came meanwhile in: WebAssembly answers without leaving the event's turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  current = null;
}

/** One mask for a preview, at `scale` times the photo's size. */
async function decoded(
  question: Question,
  to: EmbeddingInfo,
  scale: number,
  signal: AbortSignal,
  route: Route = routes.choose(page.ready(to) && !question.mask),
): Promise<Answer> {
  const started = performance.now();
  if (route === "page") {
    const candidates = await byPage(question, to, scale, isLonePoint(question), true);
    routes.took("page", performance.now() - started);
    return { candidates, best: 0, scale, route, ms: performance.now() - started };
  }
  try {
    const response = await request(connection, `v1/embeddings/${to.id}/decode`, {
      json: { ...wire(question), answer: "logits", dtype: "float16", only_best: true, hover: true },
      signal,
    });
    const { head, tensors } = readFrame(await response.arrayBuffer());
    const logits = tensors["low_res_logits"].data;
    const scores = head["scores"] as number[];
    const outputs = head["candidates"] as number[];
    const best = scores.length === 1 ? 0 : (head["best"] as number);
    const side = model.low_res_size;
    const size = side * side;
    const mask = placed(logits.subarray(best * size, (best + 1) * size), to, scale);
    routes.took("server", performance.now() - started);
    return {
      candidates: [{ region: mask, score: scores[best], output: outputs[best] }],
      best: 0,
      scale,
      route,
      ms: performance.now() - started,
    };
  } catch (error) {
    if (error instanceof ApiError && [0, 429, 503].includes(error.status)) {
      routes.busy(error.retryAfterMs);
      post({ kind: "routes", times: routes.times() });
    } else if (isAbort(error) && performance.now() - started > STALE_MS) {
      routes.took("server", performance.now() - started);
    }
    throw error;
  }
}

/** The masks of a prompt that is kept: the server's own, to the pixel, if it answers in time. */
async function keep(message: Extract<ToWorker, { kind: "keep" }>): Promise<void> {
  const to = embedding;
  try {
    if (!to) throw new Error("the photo is still being encoded");
    post({ kind: "keep", id: message.id, answer: await kept(message.question, message.multimask, to) });
  } catch (error) {
    const { status, code } = error instanceof ApiError ? error : { status: 0, code: "failed" };
    if (code === "no_embedding") post({ kind: "lost" });
    post({ kind: "failed", id: message.id, status, code, message: reason(error) });
  }
}

async function kept(question: Question, multimask: boolean | null, to: EmbeddingInfo): Promise<Answer> {
  const started = performance.now();
  const possible = page.ready(to) && !question.mask;
  const signal = possible ? AbortSignal.timeout(2000) : undefined;
  try {
    const response = await request(connection, `v1/embeddings/${to.id}/decode`, {
      json: { ...wire(question), multimask },
      signal,
    });
    const { masks, candidates, best } = (await response.json()) as RleAnswer;
    return {
      candidates: masks.map(({ rle, score }, index) => ({
        region: decodeCoco(rle),
        score,
        output: candidates[index],
      })),
      best,
      scale: 1,
      route: "server",
      ms: performance.now() - started,
    };
  } catch (error) {
    const refused = error instanceof ApiError && error.status > 0 && ![429, 503].includes(error.status);
    if (!possible || refused) throw error;
    const three = multimask ?? isLonePoint(question);
    const found = await byPage(question, to, 1, three, false);
    const best = found.reduce((most, { score }, at) => (score > found[most].score ? at : most), 0);
    return { candidates: found, best, scale: 1, route: "page", ms: performance.now() - started };
  }
}

async function byPage(
  question: Question,
  to: EmbeddingInfo,
  scale: number,
  three: boolean,
  onlyBest: boolean,
): Promise<Candidate[]> {
  const { logits, scores } = await page.decode(question, to);
  let outputs = three ? [...model.masks.candidates] : [model.masks.single];
  if (onlyBest) outputs = [outputs.reduce((best, at) => (scores[at] > scores[best] ? at : best))];
  const size = model.low_res_size ** 2;
  return outputs.map((output) => ({
    region: placed(logits.subarray(output * size, (output + 1) * size), to, scale),
    score: scores[output],
    output,
  }));
}

/** Upsample a mask to `scale` times its part of the photo, and put it where that part lies. */
function placed(logits: Float32Array, to: EmbeddingInfo, scale: number): Region {
  const [height, width] = to.size.map((side) => Math.max(1, Math.round(side * scale)));
  const frame = { imageSize: to.image_size, inputSize: to.input_size };
  const region = upsample(logits, model.low_res_size, frame, [height, width], model.masks.threshold);
  const left = Math.round(to.part[0] * scale);
  const top = Math.round(to.part[1] * scale);
  if ((!left && !top) || isEmpty(region)) return region;
  return {
    left: region.left + left,
    start: region.start,
    rows: region.rows.map((row) => row + top),
  };
}

function wire(question: Question): Record<string, unknown> {
  return {
    ...(question.points.length ? { points: question.points, labels: question.labels } : {}),
    ...(question.box ? { box: question.box } : {}),
    ...(question.mask ? { mask: { rle: question.mask } } : {}),
  };
}

/** Open the page's own decoder while nobody hovers, and measure both ways. */
let opened: Promise<void> | null = null;

async function prepare(to: EmbeddingInfo): Promise<void> {
  if (!model.decoder) return;
  const quiet = async (): Promise<boolean> => {
    while (performance.now() - lastMove < QUIET_MS) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return embedding === to;
  };
  lastMove = Math.max(lastMove, performance.now());
  try {
    if (!(await quiet())) return;
    opened ??= page.open(connection, model, threads);
    await opened;
    const path = `v1/embeddings/${to.id}/features?dtype=float16`;
    const frame = readFrame(await (await request(connection, path)).arrayBuffer());
    if (embedding !== to) return;
    await page.load(to, frame);
    if (!routes.needsTrial()) return;
    const [x0, y0, x1, y1] = to.part;
    const question: Question = {
      points: [[(x0 + x1) / 2, (y0 + y1) / 2]],
      labels: [1],
      box: null,
      mask: null,
    };
    for (let run = 0; run < WARM_UP; run++) {
      if (!(await quiet())) return;
      await byPage(question, to, 1, true, true);
    }
    for (const route of ["page", "server"] as Route[]) {
      for (let run = 0; run < TRIALS; run++) {
        if (!(await quiet())) return;
        await decoded(question, to, 1, new AbortController().signal, route);
      }
    }
    routes.settle(threads);
  } catch (error) {
    if (!isAbort(error)) routes.fail(reason(error));
  }
  post({ kind: "routes", times: routes.times() });
}
