/** What all parts of the page share: the state that is shown, and the steps that change it. */
import type { Backend } from "./api/backend";
import type { EmbeddingInfo, ModelInfo, PhotoInfo } from "./api/types";
import type { Engine } from "./engine/engine";
import type { RouteTimes } from "./engine/protocol";
import type { Region } from "./mask/region";
import type { Size } from "./mask/rle";
import { type Rgb, colour } from "./state/colours";
import { type Doc, EMPTY_DOC, type Item, activeItem } from "./state/document";
import { type History, pushed, redone, replaced, started, undone } from "./state/history";
import { DEFAULT_LABEL, rememberLabels, withLabels } from "./state/labels";
import type { SaveState, Saver } from "./state/saver";
import { Store } from "./state/store";
import type { Stage } from "./view/stage";

export type Tool = "segment" | "brush" | "erase" | "cut" | "pan";

export type Phase =
  | { kind: "starting" }
  | { kind: "empty" }
  | { kind: "encoding"; since: number; expectedMs: number | null; queued: number }
  | { kind: "ready" }
  | { kind: "failed"; why: string };

/** What "everything" found, to pick from. */
export interface Found {
  readonly region: Region;
  readonly score: number;
  readonly stability: number;
}

export interface Finding {
  readonly progress: number | null;
  readonly found: readonly Found[];
  readonly leastScore: number;
  readonly leastStability: number;
  readonly leastArea: number;
  readonly left: ReadonlySet<number>;
}

export interface State {
  readonly photos: readonly PhotoInfo[];
  readonly photo: PhotoInfo | null;
  readonly phase: Phase;
  readonly embedding: EmbeddingInfo | null;
  readonly history: History<Doc>;
  readonly photoDone: boolean;
  readonly tool: Tool;
  /** For touch: the next points say "not this". */
  readonly negative: boolean;
  readonly label: string;
  readonly labels: readonly string[];
  readonly brush: number;
  readonly marked: ReadonlySet<string>;
  readonly hidden: boolean;
  readonly save: SaveState;
  readonly routes: RouteTimes | null;
  readonly everything: Finding | null;
  readonly notice: { text: string; kind: "info" | "error"; at: number } | null;
  readonly busy: boolean;
}

export const START: State = {
  photos: [],
  photo: null,
  phase: { kind: "starting" },
  embedding: null,
  history: started(EMPTY_DOC),
  photoDone: false,
  tool: "segment",
  negative: false,
  label: DEFAULT_LABEL,
  labels: [DEFAULT_LABEL],
  brush: 12,
  marked: new Set(),
  hidden: false,
  save: { kind: "saved" },
  routes: null,
  everything: null,
  notice: null,
  busy: false,
};

export class App {
  readonly store = new Store<State>(START);
  private queue: Promise<void> = Promise.resolve();
  private waiting = 0;

  constructor(
    readonly backend: Backend,
    readonly model: ModelInfo,
    readonly engine: Engine,
    readonly saver: Saver,
    readonly stage: Stage,
  ) {}

  get state(): State {
    return this.store.state;
  }

  get doc(): Doc {
    return this.state.history.present;
  }

  get active(): Item | null {
    return activeItem(this.doc);
  }

  get size(): Size {
    return this.stage.photoSize ?? { width: 1, height: 1 };
  }

  /** One step that undo takes back. */
  commit(doc: Doc): void {
    this.become(pushed(this.state.history, doc));
  }

  /** Look at it differently: another object is the one clicks go to. */
  focus(id: string | null): void {
    const { history } = this.state;
    if (history.present.active === id) return;
    this.become(replaced(history, { ...history.present, active: id }));
  }

  undo(): void {
    void this.next(() => this.become(undone(this.state.history)));
  }

  redo(): void {
    void this.next(() => this.become(redone(this.state.history)));
  }

  setPhotoDone(done: boolean): void {
    this.store.set({ photoDone: done });
    this.saveSoon();
  }

  /**
   * Steps that ask the server come one after the other, so that each builds on the last.
   *
   * @param step is told how to find out whether its photo is still the one that is shown.
   */
  next(step: (stillHere: () => boolean) => void | Promise<void>): Promise<void> {
    this.waiting++;
    this.store.set({ busy: true });
    this.queue = this.queue
      .then(() => {
        const photo = this.state.photo?.id;
        return step(() => this.state.photo?.id === photo);
      })
      .catch((error: unknown) => this.tell(error instanceof Error ? error.message : String(error), "error"))
      .finally(() => {
        if (--this.waiting === 0) this.store.set({ busy: false });
      });
    return this.queue;
  }

  tell(text: string, kind: "info" | "error" = "info"): void {
    this.store.set({ notice: { text, kind, at: performance.now() } });
  }

  useLabel(label: string): void {
    const labels = withLabels(this.state.labels, [label]);
    rememberLabels(labels);
    this.store.set({ label, labels });
  }

  colourOf(label: string): Rgb {
    return colour(Math.max(0, this.state.labels.indexOf(label)));
  }

  private become(history: History<Doc>): void {
    // What a click would have given no longer holds; the next move shows it anew.
    this.engine.still();
    this.stage.setHover(null);
    const labels = withLabels(
      this.state.labels,
      history.present.items.map(({ label }) => label),
    );
    this.store.set({ history, labels });
    this.saveSoon();
  }

  private saveSoon(): void {
    const { photo, history, photoDone } = this.state;
    if (photo) this.saver.change(photo.id, history.present.items, photoDone);
  }
}
