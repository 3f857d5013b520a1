/** From the state to what the stage shows. */
import type { App, State } from "../app";
import { colour } from "../state/colours";
import { activeItem } from "../state/document";
import { remaining } from "../tools/everything";
import { activeLook, finishedLook } from "./looks";

export function showMasks(app: App, state: State, before: State): void {
  const { history, everything, marked, hidden, labels, photo } = state;
  const same =
    history.present === before.history.present &&
    everything === before.everything &&
    marked === before.marked &&
    hidden === before.hidden &&
    labels === before.labels &&
    photo === before.photo;
  if (same) return;
  const { items, active } = history.present;
  const shown = hidden
    ? []
    : items
        .filter(({ id }) => id !== active || everything)
        .map((item) => ({
          region: item.region,
          look: finishedLook(app.colourOf(item.label), marked.has(item.id), item.done),
        }));
  if (everything) {
    for (const index of remaining(everything)) {
      shown.push({
        region: everything.found[index].region,
        look: finishedLook(colour(index), false, false),
      });
    }
  }
  app.stage.setItems(shown);
  drawActive(app, state);
}

/** The object being worked on, as it is; a stroke under way draws it otherwise. */
export function drawActive(app: App, { history, everything, hidden }: State): void {
  const item = activeItem(history.present);
  const visible = item && !everything && !hidden;
  app.stage.setActive(visible ? { region: item.region, look: activeLook(app.colourOf(item.label)) } : null);
}
