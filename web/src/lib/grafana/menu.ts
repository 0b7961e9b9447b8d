/** For a menu made of `<details>`: it closes on Escape, and when something else is pressed. */
export function closing(menu: HTMLDetailsElement): () => void {
  const outside = (event: Event) => {
    if (menu.open && !menu.contains(event.target as Node)) menu.open = false;
  };
  const escape = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector('summary')?.focus();
  };
  // What is chosen in it is done: it closes then.
  const chosen = (event: Event) => {
    if ((event.target as Element).closest('.sheet a, .sheet button')) menu.open = false;
  };
  document.addEventListener('pointerdown', outside);
  menu.addEventListener('keydown', escape);
  menu.addEventListener('click', chosen);
  return () => document.removeEventListener('pointerdown', outside);
}
