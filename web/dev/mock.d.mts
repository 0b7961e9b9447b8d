export const POLICY: string;
export interface MockState {
  mode: string;
}
export function makeState(mode?: string, now?: number): MockState;
export function answer(state: MockState, method: string, path: string, params: URLSearchParams, body?: string, now?: number): [number, unknown] | undefined;
export function serve(options?: { port?: number; mode?: string }): Promise<{ server: import('node:http').Server; port: number }>;
