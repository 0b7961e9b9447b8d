/// Whose code is embedded, as the build finds it out.
import { describe, expect, it } from 'vitest';
import { notice, packageOf } from '../build/licences.mjs';

describe('licences', () => {
  it('finds the package of a module', () => {
    expect(packageOf('/a/node_modules/svelte/src/index.js?v=1')).toBe('/a/node_modules/svelte');
    expect(packageOf('/a/node_modules/@x/y/node_modules/@p/q/index.js')).toBe('/a/node_modules/@x/y/node_modules/@p/q');
    expect(packageOf('/a/src/main.ts')).toBeUndefined();
    expect(packageOf('\0virtual:icons')).toBeUndefined();
  });

  it('says what a package says of itself', () => {
    const icons = notice('node_modules/lucide-static');
    expect(icons).toMatchObject({ name: 'lucide-static', licence: 'ISC', url: 'https://lucide.dev' });
    expect(icons.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(icons.text).toContain('ISC License');
  });
});
