/** Short results of acts, told in `role=status`; failures stay until they are closed, in `role=alert`. */
export interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

class Toasts {
  all = $state<Toast[]>([]);
  #next = 1;

  say(text: string, bad = false): void {
    const id = this.#next++;
    this.all.push({ id, text, bad });
    if (!bad) setTimeout(() => this.close(id), 6000);
  }

  close(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
