// What the page teaches beside the answers: units from close by, and what would change an answer. It is loaded after the
// first answer, which does not wait for it.

import type { Palette } from "./colours";
import { Inspector, type Shown } from "./inspector";
import { type Answer, type Kernels, type LayerName, type Network } from "./network";
import { occlusion, type Occlusion } from "./occlusion";
import type { LayerView, NetworkView } from "./view";

/** The pen has to rest so long, in ms, before squares are erased. */
const REST = 300;

export class Lessons {
  private views: NetworkView[] = [];
  private readonly weights = new Map<string, Partial<Record<LayerName, Kernels>>>();
  private readonly inspector: Inspector;
  private turn = 0;
  private found: (Occlusion | null)[] = [];

  constructor(
    private readonly networks: Network[],
    private readonly shown: () => Shown,
    say: (text: string) => void,
    private readonly stopped: (error: unknown) => void,
  ) {
    for (const network of networks) {
      const keep = (all: Partial<Record<LayerName, Kernels>>) => void this.weights.set(network.architecture, all);
      void network.kernels().then(keep).catch(stopped);
    }
    this.inspector = new Inspector((view) => this.weightsOf(view), shown, say);
  }

  /** Takes these views, which are new on the page. */
  attach(views: NetworkView[]): void {
    this.views = views;
    this.inspector.hide();
    for (const view of views) for (const layer of view.layers) this.inspector.attach(layer);
  }

  hide(): void {
    this.inspector.hide();
  }

  private weightsOf(layer: LayerView): Partial<Record<LayerName, Kernels>> {
    const place = this.views.findIndex(({ layers }) => layers.includes(layer));
    return this.weights.get(this.networks[place].architecture) ?? {};
  }

  /** The page shows something else. */
  changed(answers: Answer[] | null): void {
    this.turn += 1;
    this.found = [];
    this.inspector.refresh();
    for (const view of this.views) view.changes.showNothing(this.shown().palette);
    if (answers) void this.erase(this.turn).catch(this.stopped);
  }

  /** The colours or the language have changed, and nothing else. */
  repaint(palette: Palette): void {
    this.inspector.refresh();
    this.views.forEach((view, i) => {
      const found = this.found[i];
      if (found) view.changes.show(found, palette);
      else view.changes.showNothing(palette);
    });
  }

  private async erase(turn: number): Promise<void> {
    const stopped = () => turn !== this.turn;
    await new Promise((resolve) => setTimeout(resolve, REST));
    const { pixels } = this.shown();
    for (let i = 0; pixels && i < this.networks.length && !stopped(); i++) {
      const network = this.networks[i];
      const found = await occlusion(pixels, (pictures, count) => network.readMany(pictures, count), stopped);
      if (!found) return;
      this.found[i] = found;
      this.repaint(this.shown().palette);
    }
    if (!stopped()) document.dispatchEvent(new CustomEvent("changes", { detail: this.found }));
  }
}
