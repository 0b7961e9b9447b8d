/// The budgets.
export default async function ({ on, expect }) {
  // What the first page weighs on the wire.
  await on('/', { mode: 'bad' }, async (page) => {
    await page.waitForTimeout(1000);
    const sizes = await page.evaluate(() => [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')].filter((entry) => !entry.name.includes('/api/')).map((entry) => [entry.name, entry.encodedBodySize]));
    const sum = sizes.reduce((total, [, size]) => total + size, 0);
    console.log(`first route: ${(sum / 1000).toFixed(1)} kB in ${sizes.length} files`);
    expect(sum <= 100_000, `the first route weighs ${sum} bytes`);
  });
}
