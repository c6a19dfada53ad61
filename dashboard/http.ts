/** What every page asks of its server: JSON and changes, and who is logged in. */

/** The server's answer was not the one that was asked for. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status; 0 if the server could not be reached. */
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

export const query = (parameters: Readonly<Record<string, string | number>>): string =>
  new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)])).toString();

/** Who is logged in, as the server says. */
export interface User {
  readonly user: string;
  readonly role: string;
  /** A namespace path; empty: everything. */
  readonly scope: string;
}

export const session = {
  me: () => get<User>('/api/me'),
  login: (user: string, password: string) => post('/api/login', { user, password }),
  logout: () => post('/api/logout', {}),
};

export async function get<T>(url: string): Promise<T> {
  const response = await request(url, {});
  return (await response.json()) as T;
}

/** JSON also when there is nothing to say: the server takes a change from nothing else. */
export async function post(url: string, body: object): Promise<void> {
  await request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

export async function request(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, credentials: 'same-origin' });
  } catch (cause) {
    throw new ApiError(0, 'The server cannot be reached.', { cause });
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await messageOf(response));
}

async function messageOf(response: Response): Promise<string> {
  try {
    const body: unknown = await response.json();
    if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  } catch {
    // not JSON: the status says it
  }
  return `The server answered ${response.status}.`;
}
