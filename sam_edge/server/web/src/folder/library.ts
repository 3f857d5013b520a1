/** Photos and annotations in the browser's own storage, where no server keeps them. */
import type { Change } from "../api/backend";
import { ApiError, reason } from "../api/errors";
import type { Annotations, Pair, PhotoInfo, PhotoList, WireObject } from "../api/types";
import { Database, answer } from "../state/database";

interface StoredPhoto {
  readonly id: string;
  readonly name: string;
  readonly blob: Blob;
  readonly size: Pair;
  readonly added: number;
  readonly version: number;
  readonly done: boolean;
  /** Of the photo's objects, each. */
  readonly labels: readonly string[];
}

export class Library {
  private readonly database: Database;

  /** @param name of the database: other pages of the same site have theirs. */
  constructor(name: string) {
    this.database = new Database(name, ["photos", "objects"]);
  }

  async add(file: File): Promise<PhotoInfo> {
    const size = await sizeOf(file);
    // The same file again is the same photo, with what was annotated on it.
    const id = `${file.name} ${file.size} ${file.lastModified}`;
    // A copy: the file itself may be gone when the page is opened again.
    const blob = new Blob([await file.arrayBuffer()], { type: file.type });
    const fresh = { id, name: file.name, blob, size, added: Date.now(), version: 0, done: false, labels: [] };
    return this.run("readwrite", async (photos) => {
      const known = (await answer(photos.get(id))) as StoredPhoto | undefined;
      if (!known) await answer(photos.put(fresh satisfies StoredPhoto, id));
      return described(known ?? fresh);
    });
  }

  async list(): Promise<PhotoList> {
    const stored = await this.run("readonly", async (photos) => (await answer(photos.getAll())) as StoredPhoto[]);
    stored.sort((a, b) => a.added - b.added || (a.name < b.name ? -1 : 1));
    const counts = new Map<string, number>();
    for (const label of stored.flatMap(({ labels }) => labels)) counts.set(label, (counts.get(label) ?? 0) + 1);
    const labels = [...counts].map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count);
    return { photos: stored.map(described), labels, folders: [] };
  }

  async photo(id: string): Promise<PhotoInfo> {
    return described(await this.run("readonly", (photos) => stored(photos, id)));
  }

  async file(id: string): Promise<Blob> {
    return (await this.run("readonly", (photos) => stored(photos, id))).blob;
  }

  annotations(id: string): Promise<Annotations> {
    return this.run("readonly", async (photos, objects) => {
      const { version, done, name, size } = await stored(photos, id);
      const found = (await answer(objects.get(id))) as readonly WireObject[] | undefined;
      return { version, done, photo: { name, size }, imported: null, objects: found ?? [] };
    });
  }

  /** Of two pages that both save, the later is told. */
  save(id: string, change: Change): Promise<{ version: number }> {
    return this.run("readwrite", async (photos, objects) => {
      const photo = await stored(photos, id);
      if (photo.version !== change.base_version) {
        const versions = { version: photo.version, base_version: change.base_version };
        throw new ApiError(409, "conflict", "another page saved this photo meanwhile", 0, versions);
      }
      const found = ((await answer(objects.get(id))) ?? []) as readonly WireObject[];
      const next = new Map(found.map((object) => [object.id, object]));
      for (const removed of change.remove) next.delete(removed);
      for (const object of change.set) next.set(object.id, object);
      const version = photo.version + 1;
      const labels = [...next.values()].map(({ label }) => label);
      await answer(objects.put([...next.values()], id));
      await answer(photos.put({ ...photo, version, done: change.done, labels } satisfies StoredPhoto, id));
      return { version };
    });
  }

  private async run<T>(
    mode: IDBTransactionMode,
    work: (photos: IDBObjectStore, objects: IDBObjectStore) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.database.run(mode, ([photos, objects]) => work(photos, objects));
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError(507, "full", `this browser's storage does not take it: ${reason(error)}`);
    }
  }
}

async function stored(photos: IDBObjectStore, id: string): Promise<StoredPhoto> {
  const found = (await answer(photos.get(id))) as StoredPhoto | undefined;
  if (!found) throw new ApiError(404, "not_found", "the photo is not kept here any more: add it again");
  return found;
}

function described({ id, name, size, labels, done, version }: StoredPhoto): PhotoInfo {
  return { id, name, folder: "", upload: true, size, objects: labels.length, done, version, imported: null };
}

/** Height and width of a photo, upright. */
async function sizeOf(file: Blob): Promise<Pair> {
  const url = URL.createObjectURL(file);
  try {
    const probe = new Image();
    probe.src = url;
    await probe.decode();
    return [probe.naturalHeight, probe.naturalWidth];
  } catch {
    throw new ApiError(422, "bad_photo", "this browser cannot read it as a photo");
  } finally {
    URL.revokeObjectURL(url);
  }
}
