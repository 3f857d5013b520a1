/** Keeps the folder's files in the browser, so that the page opens without a network and has threads. */
import { h } from "../view/dom";
import type { Progress } from "./service_worker";

/**
 * Have the service worker keep the files, at the first visit, and load the page again through it:
 * the headers that it adds give threads. Plain http on another machine's name has none; there the
 * page works as it is.
 *
 * @returns false if the page is about to be loaded again.
 */
export async function offline(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return true;
  let fresh: ServiceWorker | null;
  try {
    const registration = await navigator.serviceWorker.register("service_worker.js");
    fresh = registration.active ? null : (registration.installing ?? registration.waiting);
  } catch {
    return true; // a browser that forbids it, such as a private window
  }
  if (!fresh) return true;
  const bar = h("progress", { max: "1", "aria-label": "Getting ready" });
  const text = h("p", { role: "status" }, "Getting ready to work without a network…");
  document.body.replaceChildren(h("main", { class: "broken" }, h("h1", {}, "sam-edge"), bar, text));
  navigator.serviceWorker.onmessage = ({ data }: MessageEvent<Progress>) => {
    bar.value = data.done / data.total;
  };
  if (await activated(fresh)) location.reload();
  else {
    document.body.replaceChildren();
    return true;
  }
  return false;
}

/** Whether it has all files; it gives up if one cannot be fetched or kept. */
function activated(worker: ServiceWorker): Promise<boolean> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (worker.state === "activated") resolve(true);
      if (worker.state === "redundant") resolve(false);
    };
    worker.onstatechange = look;
    look();
  });
}
