/** Puts the page together, whoever is behind it. */
import "./style.css";
import type { Backend } from "./api/backend";
import { reason } from "./api/errors";
import { App } from "./app";
import { listen } from "./keys";
import { Pointing } from "./pointing";
import { rememberedLabels, withLabels } from "./state/labels";
import { keepPast } from "./state/past";
import { Saver } from "./state/saver";
import * as photos from "./tools/photos";
import { Bar } from "./view/bar";
import * as dialogs from "./view/dialogs";
import { h, on } from "./view/dom";
import { Gestures } from "./view/gestures";
import { Marks } from "./view/marks";
import { Overlay } from "./view/overlay";
import { Panel } from "./view/panel";
import { showMasks } from "./view/masks";
import { Stage } from "./view/stage";
import { toggleTheme, useTheme } from "./view/theme";
import { toolbar } from "./view/toolbar";

export function start(backend: Backend): Promise<void> {
  return open(backend).catch((error: unknown) => {
    document.body.replaceChildren(
      h("main", { class: "broken" }, h("h1", {}, "sam-edge"), h("p", { role: "alert" }, reason(error))),
    );
  });
}

async function open(backend: Backend): Promise<void> {
  useTheme();
  const { models, grounder } = await backend.models();
  const model = models[0];
  const stage = new Stage();
  const saver = new Saver(backend);
  const app = new App(backend, model, backend.engine(model), saver, stage);
  app.store.set({ labels: withLabels(rememberedLabels(), [app.state.label]) });

  const files = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, tabindex: "-1" });
  on(files, "change", () => {
    void photos.upload(app, [...(files.files ?? [])]);
    files.value = "";
  });
  const choose = (): void => files.click();
  const openers = {
    photos: () => void photos.current(app).then(() => dialogs.photoSheet(app, choose)),
    exporting: () => dialogs.exporting(app),
    help: () => dialogs.help(app),
    panel: () => panel.element.classList.toggle("open"),
    theme: toggleTheme,
    conflict: () => dialogs.conflict(app),
  };
  const marks = new Marks(app);
  const tools = toolbar(app, openers, grounder);
  const panel = new Panel(app, () => panel.element.classList.remove("open"));
  const bar = new Bar(app);
  const overlay = new Overlay(app, choose);
  const view = h("main", { class: "view" }, stage.element, overlay.element, bar.element);
  document.body.append(tools.element, view, panel.element, files);

  const pointing = new Pointing(app, marks);
  const gestures = new Gestures(stage.element, pointing);
  listen(app, pointing, gestures, { label: () => panel.focusLabel(), ...openers });
  acceptDrops(app);

  stage.onView = () => marks.update();
  app.engine.onRoutes = (routes) => app.store.set({ routes });
  app.engine.onLost = () => void photos.encodeAgain(app);
  saver.onState = (photo, save) => {
    if (photo !== app.state.photo?.id) return;
    app.store.set({ save });
    if (save.kind === "conflict") dialogs.conflict(app);
  };
  saver.onSaved = (id, saved) => {
    const all = app.state.photos.map((its) => (its.id === id ? { ...its, ...saved } : its));
    app.store.set({ photos: all });
    const { photo, history } = app.state;
    if (id === photo?.id && saver.base(id) === history.present.items) void keepPast(id, history);
  };
  addEventListener("pagehide", () => saver.leave());
  addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") void saver.flush();
  });
  addEventListener("beforeunload", (event) => {
    if (saver.unsaved) event.preventDefault();
  });

  app.store.subscribe((state, before) => {
    tools.update(state);
    panel.update(state, before);
    bar.update(state);
    overlay.update(state, before);
    showMasks(app, state, before);
    marks.update();
    stage.element.dataset["tool"] = state.tool;
    stage.element.dataset["phase"] = state.phase.kind;
    document.body.toggleAttribute("data-busy", state.busy);
    if (state.tool !== before.tool) marks.showBrush(null);
    document.title = state.photo ? `${state.photo.name} – sam-edge` : "sam-edge";
  });
  panel.update(app.state, null);
  if (model.source.random) app.tell("This model has random weights: its masks mean nothing.", "error");
  else if (grounder?.source.random) app.tell("What finds words has random weights: its boxes mean nothing.", "error");

  const all = await photos.refresh(app);
  const first = all.find(({ id }) => id === photos.remembered()) ?? all.find(({ done }) => !done) ?? all[0];
  if (first) await photos.open(app, first.id);
  else app.store.set({ phase: { kind: "empty" } });
}

function acceptDrops(app: App): void {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (dropped.length) void photos.upload(app, dropped);
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length) void photos.upload(app, pasted);
  });
}
