/** The page of a folder that `sam-edge web-bundle` wrote. */
import { FolderBackend } from "./folder/backend";
import { offline } from "./folder/offline";
import { start } from "./main";

void offline().then((stays) => {
  if (stays) return start(new FolderBackend(new URL(".", location.href).href));
});
