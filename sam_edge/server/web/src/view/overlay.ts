/** What is said over the photo: how encoding goes, notices, and the invitation to drop photos. */
import type { App, State } from "../app";
import { command, spelled } from "../commands";
import { h, on } from "./dom";

export class Overlay {
  readonly element = h("div", { class: "overlay" });
  private readonly progress = h("div", { class: "progress", role: "status", hidden: true });
  private readonly text = h("span", {});
  private readonly meter = h("progress", { max: "1", "aria-label": "Encoding" });
  private readonly notice = h("div", { class: "notice", role: "status", "aria-live": "polite" });
  private readonly welcome: HTMLElement;
  private timer: ReturnType<typeof setInterval> | undefined;
  private hiding: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly app: App,
    choose: () => void,
  ) {
    this.progress.append(this.meter, this.text);
    const pick = h("button", { type: "button", class: "primary" }, "Choose photos");
    on(pick, "click", choose);
    this.welcome = h(
      "div",
      { class: "welcome", hidden: true },
      h("h2", {}, "Drop photos here"),
      h("p", {}, "They stay on this machine. Point at something and its mask appears; click to keep it."),
      pick,
      h("p", { class: "hint" }, "Press ", h("kbd", {}, "?"), " for all keys."),
    );
    this.element.append(this.welcome, this.progress, this.notice);
  }

  update(state: State, before: State | null): void {
    const { phase, notice } = state;
    this.welcome.hidden = phase.kind !== "empty";
    if (phase !== before?.phase) {
      clearInterval(this.timer);
      this.progress.hidden = !["encoding", "failed"].includes(phase.kind);
      this.progress.classList.toggle("failed", phase.kind === "failed");
      this.meter.hidden = phase.kind === "failed";
      this.drawPhase(state);
      if (phase.kind === "encoding") this.timer = setInterval(() => this.drawPhase(app().state), 100);
    }
    const app = (): App => this.app;
    if (notice && notice !== before?.notice) {
      clearTimeout(this.hiding);
      this.notice.textContent = notice.text;
      this.notice.className = `notice shown ${notice.kind}`;
      this.hiding = setTimeout(
        () => this.notice.classList.remove("shown"),
        notice.kind === "error" ? 8000 : 3500,
      );
    }
  }

  private drawPhase({ phase }: State): void {
    if (phase.kind === "failed") {
      this.text.textContent = phase.why;
    } else if (phase.kind === "encoding") {
      const seconds = (performance.now() - phase.since) / 1000;
      if (phase.queued > 0) {
        this.text.textContent = `Waiting for ${phase.queued} photo${phase.queued > 1 ? "s" : ""} before this one`;
      } else {
        const of = phase.expectedMs ? ` of about ${(phase.expectedMs / 1000).toFixed(1)} s` : " s";
        this.text.textContent = `Looking at the photo once, then clicks are quick: ${seconds.toFixed(1)}${of}`;
      }
      if (phase.expectedMs) this.meter.value = Math.min(0.97, (1000 * seconds) / phase.expectedMs);
      else this.meter.removeAttribute("value");
    }
  }
}

/** What Tab and Enter do now, once an object is begun: for those who never open the sheet. */
export function firstHint(app: App): void {
  const key = "sam-edge.hinted";
  try {
    if (localStorage.getItem(key)) return;
    localStorage.setItem(key, "1");
  } catch {
    return;
  }
  const finish = spelled(command("finish").keys[0]);
  if (matchMedia("(pointer: coarse)").matches) {
    return app.tell("Kept. Hold a finger down for “not this”; the tick ends the object.");
  }
  app.tell(`Kept. Tab: other candidates. Right-click: not this. ${finish}: next object.`);
}
