/** Which way a decode goes: measured on opening, and again whenever one way becomes slow or busy. */
import type { Route, RouteTimes } from "./protocol";

/** How many of the last decodes count. */
const WINDOW = 9;
/** The other way must be this much faster before it is taken: no changing to and fro. */
const MARGIN = 0.75;
/** How long after a refusal or a change the slower way is tried again. */
const RETRY_MS = 20_000;

export class RouteChoice {
  private readonly samples: Record<Route, number[]> = { server: [], page: [] };
  private chosen: Route = "server";
  private forced: Route | null = null;
  private busyUntil = 0;
  private tryAgainAt = Infinity;
  private settled = false;
  private threads = 1;
  private problem: string | null = null;

  constructor(private readonly now: () => number = () => performance.now()) {}

  choose(pagePossible: boolean): Route {
    if (!pagePossible) return "server";
    if (this.forced) return this.forced;
    if (this.now() < this.busyUntil) return "page";
    if (this.chosen === "page" && this.now() > this.tryAgainAt) {
      this.tryAgainAt = this.now() + RETRY_MS;
      return "server"; // one decode, to see whether it has become the faster
    }
    return this.chosen;
  }

  took(route: Route, ms: number): void {
    const samples = this.samples[route];
    samples.push(ms);
    if (samples.length > WINDOW) samples.shift();
    if (this.settled && !this.forced) this.decide();
  }

  /** The server refused, as it has too much to do, or does not answer at all. */
  busy(retryAfterMs: number): void {
    this.busyUntil = this.now() + Math.max(retryAfterMs, 1000);
  }

  /** Both ways were measured. */
  settle(threads: number): void {
    this.settled = true;
    this.threads = threads;
    this.decide();
  }

  fail(problem: string): void {
    this.problem = problem;
  }

  needsTrial(): boolean {
    return !this.settled;
  }

  force(route: Route | null): void {
    this.forced = route;
  }

  times(): RouteTimes {
    const { chosen, threads, problem } = this;
    return { chosen, server: this.median("server"), page: this.median("page"), threads, problem };
  }

  private decide(): void {
    const other: Route = this.chosen === "server" ? "page" : "server";
    const [mine, its] = [this.median(this.chosen), this.median(other)];
    if (mine === null || its === null || its >= mine * MARGIN) return;
    this.chosen = other;
    this.tryAgainAt = this.now() + RETRY_MS;
  }

  private median(route: Route): number | null {
    const sorted = [...this.samples[route]].sort((a, b) => a - b);
    return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
  }
}
