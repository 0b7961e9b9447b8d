// The first script of the page, before the style sheet: it sets theme and language, so that nothing flashes.
(() => {
  let saved = null;
  try {
    saved = localStorage.getItem('watchkeeper.theme');
  } catch {
    // Storage may be forbidden; then the system decides.
  }
  const dark = saved === 'dark' || (saved !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
