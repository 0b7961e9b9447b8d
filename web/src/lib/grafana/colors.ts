/**
 * Colours of dashboards on our pages. Dashboards name colours for Grafana's own background; here each keeps its hue, and its
 * lightness moves until it can be read on ours. Green, yellow and red of thresholds become the status colours of the app.
 */

type Rgb = [number, number, number];

/** Hue, saturation, lightness of Grafana's named colours. */
const NAMED: Record<string, [number, number, number]> = {
  red: [350, 89, 55], orange: [28, 100, 58], yellow: [48, 99, 56], green: [105, 40, 53], blue: [218, 86, 66], purple: [276, 68, 68],
  gray: [210, 5, 55], grey: [210, 5, 55], white: [0, 0, 100], black: [0, 0, 0], text: [210, 5, 55], transparent: [210, 5, 55],
};
const SHADE: Record<string, number> = { 'super-light': 24, light: 12, 'semi-dark': -8, dark: -16 };

function hslToRgb(hue: number, saturation: number, lightness: number): Rgb {
  const s = saturation / 100;
  const l = lightness / 100;
  const a = s * Math.min(l, 1 - l);
  const part = (n: number) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}

function rgbToHsl([r, g, b]: Rgb): [number, number, number] {
  const [x, y, z] = [r / 255, g / 255, b / 255];
  const most = Math.max(x, y, z);
  const least = Math.min(x, y, z);
  const l = (most + least) / 2;
  const d = most - least;
  if (d === 0) return [0, 0, l * 100];
  const s = d / (1 - Math.abs(2 * l - 1));
  const h = most === x ? ((y - z) / d + 6) % 6 : most === y ? (z - x) / d + 2 : (x - y) / d + 4;
  return [h * 60, s * 100, l * 100];
}

/** Reads `#abc`, `#aabbcc`, `rgb()`, `rgba()` and Grafana's names; `undefined` for what is no colour. */
export function parseColor(source: string): Rgb | undefined {
  const name = source.trim().toLowerCase();
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/.exec(name)?.[1];
  if (hex) {
    const full = hex.length === 3 ? hex.replace(/./g, '$&$&') : hex;
    return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16)) as Rgb;
  }
  const rgb = /^rgba?\(\s*(\d{1,3})\s*[, ]\s*(\d{1,3})\s*[, ]\s*(\d{1,3})/.exec(name);
  if (rgb) return [1, 2, 3].map((at) => Math.min(255, Number(rgb[at]))) as Rgb;
  const shade = Object.keys(SHADE).find((prefix) => name.startsWith(`${prefix}-`));
  const base = NAMED[shade ? name.slice(shade.length + 1) : name];
  return base && hslToRgb(base[0], base[1], Math.max(10, Math.min(95, base[2] + (shade ? (SHADE[shade] ?? 0) : 0))));
}

function luminance([r, g, b]: Rgb): number {
  const part = (value: number) => {
    const share = value / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}

export function contrast(a: Rgb, b: Rgb): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

const PAGES: Record<'light' | 'dark', Rgb> = { light: [245, 247, 249], dark: [23, 29, 36] };
const hexOf = (rgb: Rgb): string => `#${rgb.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
const adapted = new Map<string, string | undefined>();

/** The colour as `#rrggbb`, lighter or darker until its contrast on the page (or a surface) is enough. */
export function readable(source: string, dark: boolean, least = 3): string | undefined {
  const key = `${source} ${dark} ${least}`;
  if (adapted.has(key)) return adapted.get(key);
  const rgb = parseColor(source);
  let out: string | undefined;
  if (rgb) {
    const page = PAGES[dark ? 'dark' : 'light'];
    const [hue, saturation] = rgbToHsl(rgb);
    let lightness = rgbToHsl(rgb)[2];
    let now = rgb;
    while (contrast(now, page) < least && (dark ? lightness < 100 : lightness > 0)) {
      lightness += dark ? 2 : -2;
      now = hslToRgb(hue, saturation, Math.max(0, Math.min(100, lightness)));
    }
    out = hexOf(now);
  }
  if (adapted.size < 2000) adapted.set(key, out);
  return out;
}

export type ColorTone = 'ok' | 'warning' | 'critical';

/** What a threshold's colour says: green is fine, yellow and orange want a look, red is bad. Other colours say nothing. */
export function toneOf(source: string): ColorTone | undefined {
  const rgb = parseColor(source);
  if (!rgb) return undefined;
  const [hue, saturation, lightness] = rgbToHsl(rgb);
  if (saturation < 25 || lightness < 12 || lightness > 92) return undefined;
  if (hue < 15 || hue >= 335) return 'critical';
  if (hue < 66) return 'warning';
  return hue < 165 ? 'ok' : undefined;
}

/** The colour of a text or a bar: a status colour, or the dashboard's own made readable. */
export function statusColor(source: string, dark: boolean): string {
  const tone = toneOf(source);
  return tone ? `var(--${tone})` : (readable(source, dark, 4.5) ?? 'var(--text)');
}
