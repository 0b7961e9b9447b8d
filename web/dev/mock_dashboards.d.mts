export const HOSTS: Record<string, unknown>;
export const OLD: Record<string, unknown>;
