/** Foreign text as it is shown: not too long, and without what turns the order of letters around. */

/** Marks of Unicode that change the direction of what follows; a name with one reads as another name. */
export const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function shown(text: string, most = 300): string {
  const plain = text.replace(TURNING, (mark) => `\u27e8U+${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}\u27e9`);
  return plain.length > most ? `${plain.slice(0, most)}…` : plain;
}
