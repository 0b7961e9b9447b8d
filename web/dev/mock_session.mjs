/// Users of the made-up server: mode `login` asks who one is (`li`, password `secret`, an operator), mode `viewer` knows a viewer.
const COOKIE = 'watchkeeper_session';
const ok = (data) => [200, { status: 'success', data }];
const denied = (error) => [401, { status: 'error', errorType: 'unauthorized', error }];

/// Returns `[status, body, headers]` where this is about sessions, or where nobody may pass.
export function session(mode, method, path, cookies, body) {
  const inside = mode !== 'login' || new RegExp(`(?:^|; )${COOKIE}=li`).test(cookies);
  if (path === '/api/watchkeeper/v1/session') {
    if (method === 'POST') {
      const { user, password } = JSON.parse(body || '{}');
      if (user !== 'li' || password !== 'secret') return denied('This name and password do not fit together.');
      return [...ok({ authentication: true, user: 'li', role: 'operator' }), { 'Set-Cookie': `${COOKIE}=li; Path=/; HttpOnly; SameSite=Strict` }];
    }
    if (method === 'DELETE') return [...ok({}), { 'Set-Cookie': `${COOKIE}=; Path=/; Max-Age=0` }];
    if (mode === 'viewer') return ok({ authentication: true, user: 'guest', role: 'viewer' });
    return ok(mode === 'login' ? { authentication: true, user: inside ? 'li' : null, role: inside ? 'operator' : null } : { authentication: false, user: null, role: null });
  }
  return inside || path.startsWith('/-/') ? undefined : denied('Unauthorized');
}
