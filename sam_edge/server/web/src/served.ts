/** The page of `sam-edge serve`. */
import type { Connection } from "./api/client";
import { ServerBackend } from "./api/server";
import { start } from "./main";

const connection: Connection = {
  base: new URL(".", location.href).href,
  token: new URLSearchParams(location.hash.slice(1)).get("token"),
  client: Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
};
const wish = new URLSearchParams(location.search);
const route = wish.get("route");

void start(
  new ServerBackend(connection, {
    route: route === "server" || route === "page" ? route : null,
    threads: Number(wish.get("threads")) || null,
  }),
);
