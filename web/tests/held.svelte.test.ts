import { expect, test } from 'vitest';
import { Held } from '../src/lib/held.svelte';

test('new rows wait while the pointer is over a table; what is gone goes, and values change in place', () => {
  let rows = $state.raw([{ id: 'a', n: 1 }, { id: 'b', n: 1 }]);
  let scope = $state('');
  const held = new Held(() => rows, (row) => row.id, () => scope);
  const seen = () => held.rows.map((row) => row.id + row.n).join(' ');
  expect(seen()).toBe('a1 b1');
  held.pointer.onpointerenter({ pointerType: 'mouse' } as PointerEvent);
  expect(seen()).toBe('a1 b1');
  rows = [{ id: 'c', n: 1 }, { id: 'b', n: 2 }, { id: 'a', n: 2 }];
  expect([seen(), held.waiting]).toEqual(['a2 b2', 1]);
  rows = [{ id: 'c', n: 1 }, { id: 'b', n: 3 }];
  expect([seen(), held.waiting]).toEqual(['b3', 1]);
  held.show();
  expect([seen(), held.waiting]).toEqual(['c1 b3', 0]);
  rows = [{ id: 'd', n: 1 }, ...rows];
  expect([seen(), held.waiting]).toEqual(['c1 b3', 1]);
  scope = 'another filter';
  expect([seen(), held.waiting]).toEqual(['d1 c1 b3', 0]);
  rows = [{ id: 'e', n: 1 }, ...rows];
  held.pointer.onpointerleave();
  expect([seen(), held.waiting]).toEqual(['e1 d1 c1 b3', 0]);
  held.pointer.onpointerenter({ pointerType: 'touch' } as PointerEvent);
  rows = [{ id: 'f', n: 1 }];
  expect(seen()).toBe('f1');
});
