/** What a page tells the frame around it. */

class Shell {
  /** The page's first data are still loading. */
  busy = $state(true);
}

export const shell = new Shell();

/** Called by each page once, with what says whether its first data are still to come. */
export function firstData(waiting: () => boolean): void {
  $effect(() => {
    shell.busy = waiting();
  });
}
