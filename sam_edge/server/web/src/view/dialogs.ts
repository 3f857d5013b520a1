/** Sheets that come up over the page: keys, export, photos, and what to do about a conflict. */
import type { App } from "../app";
import type { Format } from "../api/backend";
import { reason } from "../api/errors";
import { COMMANDS, spelled } from "../commands";
import * as photos from "../tools/photos";
import { h, icon, on } from "./dom";
import { ICONS } from "./icons";
import { button } from "./toolbar";

function sheet(title: string, className: string, ...children: Node[]): HTMLDialogElement {
  const dialog = h("dialog", { class: className, "aria-label": title });
  const close = button("Close (Esc)", ICONS.close, () => dialog.close());
  dialog.append(h("div", { class: "head" }, h("h2", {}, title), close), ...children);
  on(dialog, "click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  on(dialog, "close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const BY_HAND: readonly (readonly [string, string])[] = [
  ["Click", "This is on the object; the mask is kept"],
  ["Right-click", "This is not on the object; so does Alt+click"],
  ["Click on a point", "Take the point away"],
  ["Drag", "Box around an object"],
  ["Shift+click", "Begin another object"],
  ["Ctrl+click", "Choose the object under the pointer"],
  ["Ctrl+Shift+click", "Mark it as well, for merging"],
  ["Wheel", "Zoom; with two fingers, too"],
  ["Space+drag", "Move the photo"],
  ["Long touch", "This is not on the object"],
];

const BY_CURSOR: readonly (readonly [string, string])[] = [
  ["← ↑ → ↓", "Move the cursor; with Shift by one pixel, with Ctrl far"],
  ["A", "Point at the cursor: on the object"],
  ["Shift+A", "The same, and begin another object"],
  ["D", "Point at the cursor: not on the object"],
  ["W", "Corner of a box; again for the other corner"],
  ["Esc", "Stop, or let the object go"],
];

export function help(app: App): void {
  const groups = [...new Set(COMMANDS.map(({ group }) => group))];
  const table = (title: string, rows: readonly (readonly [string, string])[]): HTMLElement =>
    h(
      "section",
      {},
      h("h3", {}, title),
      h(
        "dl",
        {},
        ...rows.map(([keys, text]) =>
          h("div", {}, h("dt", {}, ...keys.split(", ").map((key) => h("kbd", {}, key))), h("dd", {}, text)),
        ),
      ),
    );
  sheet(
    "Keys",
    "sheet wide",
    h(
      "div",
      { class: "columns", tabindex: "0", role: "group", "aria-label": "All keys" },
      table("By hand", BY_HAND),
      table("By keyboard", BY_CURSOR),
      ...groups.map((group) =>
        table(
          group,
          COMMANDS.filter((command) => command.group === group && (command.possible?.(app) ?? true)).map(
            ({ keys, title }) => [keys.slice(0, 2).map(spelled).join(", "), title] as const,
          ),
        ),
      ),
      table("Labels and page", [
        ["1 … 9", "Label of new objects, and of the chosen one"],
        ["L", "Name a label"],
        ["X", "Export"],
        ["T", "Light or dark"],
        ["?", "This sheet"],
      ]),
    ),
    h("p", { class: "hint" }, aboutRoutes(app)),
  );
}

/** Which way masks come, and how fast each way was. */
function aboutRoutes({ state: { routes }, model, backend }: App): string {
  return `Masks by ${model.variant}, ${model.precision}, ${backend.about(routes)}`;
}

const FORMATS: readonly (readonly [Format, string, string])[] = [
  ["png", "PNG label map", "one picture, each object its own number and colour"],
  ["mask", "PNG masks", "white on black, one picture an object"],
  ["coco", "COCO", "run lengths, exact to the pixel, holes and all"],
  ["labelme", "LabelMe", "polygons to edit by hand"],
  ["sa1b", "SA-1B", "Segment Anything's own JSON"],
  ["svg", "SVG", "outlines for drawing programs"],
  ["yolo", "YOLO", "polygons for training, with data.yaml"],
];
const POLYGONS: ReadonlySet<string> = new Set<Format>(["labelme", "yolo"]);

export function exporting(app: App): void {
  const { photo } = app.state;
  if (!photo) return;
  const form = h("form", { method: "dialog", class: "export" });
  const radio = (name: string, value: string, text: string, detail: string, checked: boolean): HTMLElement =>
    h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name, value, checked }),
      h("span", { class: "text" }, text),
      h("span", { class: "detail" }, detail),
    );
  const many = app.state.photos.length;
  const tolerance = h("input", {
    type: "range",
    min: "0",
    max: "5",
    step: "0.25",
    value: "1",
    "aria-label": "How far, in pixels, polygons may leave the outline",
  });
  const shown = h("output", {}, "1 px");
  on(tolerance, "input", () => (shown.textContent = `${Number(tolerance.value)} px`));
  const fewer = h("label", { class: "tolerance" }, h("span", {}, "Fewer polygon points"), tolerance, shown);
  const go = h("button", { type: "submit", class: "primary" }, "Export");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const chosen = (name: string): string => String(new FormData(form).get(name));
  form.append(
    h(
      "fieldset",
      {},
      h("legend", {}, "Format"),
      ...FORMATS.filter(([value]) => app.backend.formats.includes(value)).map(([value, text, detail]) => radio("format", value, text, detail, value === "coco")),
    ),
    fewer,
    h(
      "fieldset",
      { hidden: many < 2 },
      h("legend", {}, "Photos"),
      radio("photos", "one", "This photo", photo.name, true),
      radio("photos", "all", "All photos", String(many), false),
    ),
    problem,
    h("div", { class: "buttons" }, go),
  );
  const update = (): void => {
    fewer.hidden = !POLYGONS.has(chosen("format"));
  };
  on(form, "change", update);
  const dialog = sheet("Export", "sheet", form);
  update();
  on(form, "submit", (event) => {
    event.preventDefault();
    go.disabled = true;
    void (async () => {
      try {
        await app.saver.flush();
        await download(app, chosen("format") as Format, chosen("photos") === "all", Number(tolerance.value));
        dialog.close();
      } catch (error) {
        problem.hidden = false;
        problem.textContent = reason(error);
        go.disabled = false;
      }
    })();
  });
}

async function download(app: App, format: Format, all: boolean, tolerance: number): Promise<void> {
  const which = all ? "all" : [app.state.photo!.id];
  const { name, data } = await app.backend.export({
    format,
    photos: which,
    ...(POLYGONS.has(format) ? { tolerance } : {}),
  });
  const url = URL.createObjectURL(data);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  app.tell(`${name} is in your downloads.`);
}

export function photoSheet(app: App, choose: () => void): void {
  const add = button("Add photos", ICONS.add, () => {
    dialog.close();
    choose();
  }, "Add photos");
  const grid = h("ul", { class: "photos" });
  const urls: string[] = [];
  for (const photo of app.state.photos) {
    const picture = h("img", { alt: "", width: "128", height: "96" });
    const card = h(
      "button",
      { type: "button", "aria-current": String(photo.id === app.state.photo?.id) },
      picture,
      h("span", { class: "name" }, photo.name),
      h(
        "span",
        { class: "detail" },
        photo.done ? icon(ICONS.check) : null,
        photo.objects === 1 ? "1 object" : photo.objects ? `${photo.objects} objects` : "",
      ),
    );
    on(card, "click", () => {
      dialog.close();
      void photos.open(app, photo.id);
    });
    grid.append(h("li", {}, card));
    // Thumbnails only of those that are seen: a folder may hold thousands.
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
      seen.disconnect();
      void app.backend
        .thumbnail(photo.id)
        .then((blob) => {
          urls.push((picture.src = URL.createObjectURL(blob)));
        })
        .catch(() => undefined);
    });
    seen.observe(card);
  }
  const done = app.state.photos.filter((photo) => photo.done).length;
  const dialog = sheet(
    "Photos",
    "sheet wide",
    h("p", { class: "hint" }, `${done} of ${app.state.photos.length} done`),
    grid,
    h("div", { class: "buttons" }, add),
  );
  on(dialog, "close", () => urls.forEach((url) => URL.revokeObjectURL(url)));
  grid.querySelector<HTMLElement>("[aria-current=true]")?.focus();
}

export function conflict(app: App): void {
  if (document.querySelector("dialog.conflict")) return;
  const choice = (text: string, detail: string, how: "both" | "theirs" | "mine"): HTMLElement => {
    const element = h(
      "button",
      { type: "button", class: "choice" },
      h("span", { class: "text" }, text),
      h("span", { class: "detail" }, detail),
    );
    on(element, "click", () => {
      dialog.close();
      void app.next(() => photos.resolve(app, how));
    });
    return element;
  };
  const dialog = sheet(
    "This photo was changed elsewhere",
    "sheet conflict",
    h(
      "p",
      { role: "alert" },
      "Another page saved objects of this photo after yours was opened. Nothing is lost: your work is kept here until you choose.",
    ),
    choice("Keep both", "the objects of both pages; where both changed one, both versions of it", "both"),
    choice("Take theirs", "show what the other page saved; Undo brings yours back", "theirs"),
    choice("Keep mine", "write yours over what the other page saved", "mine"),
  );
}
