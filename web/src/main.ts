import './styles/tokens.css';
import './styles/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { connection } from './lib/connection.svelte';
import { preferredLanguage, setLanguage } from './lib/i18n.svelte';
import { refresh } from './lib/resource.svelte';
import { router } from './lib/router.svelte';
import { session } from './lib/session.svelte';
import { features } from './lib/watchkeeper.svelte';
import { preload } from './pages';

router.start();
preload(router.route.page);
connection.probeBy(async () => {
  try {
    const response = await fetch(new URL('../-/healthy', new URL('.', import.meta.url)), { signal: AbortSignal.timeout(5000) });
    return response.ok;
  } catch {
    return false;
  }
});
session.onOpened(async () => {
  await features.load();
  refresh();
});
await Promise.all([setLanguage(preferredLanguage(), false), features.load()]);
const target = document.getElementById('app');
if (target) mount(App, { target });
