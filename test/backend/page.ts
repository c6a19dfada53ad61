/** A browser's side of the API: a cookie, JSON, and the headers that a browser adds. */
import { hashPassword } from '../../web/password.ts';
import type { Database } from '../../database/connect.ts';
import type { Role } from '../../database/schema.ts';
import { addUser } from '../../database/users.ts';

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export const password = 'correct horse battery';
let hashed: Promise<string> | undefined;

/** Adds users with one password, which is hashed once. */
export async function addUsers(
  database: Database,
  users: readonly { readonly name: string; readonly role: Role; readonly scope: string }[],
): Promise<void> {
  hashed ??= hashPassword(password);
  const passwordHash = await hashed;
  for (const user of users) await addUser(database, { ...user, passwordHash }, Date.now());
}

export class Page {
  readonly origin: string;
  #cookie: string;

  /** @param cookie - of a session that is there already */
  constructor(port: number, cookie = '') {
    this.origin = `http://127.0.0.1:${port}`;
    this.#cookie = cookie;
  }

  get cookie(): string {
    return this.#cookie;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.origin}${path}`, {
      ...init,
      headers: { ...(this.#cookie === '' ? {} : { cookie: this.#cookie }), ...headersOf(init) },
    });
  }

  async get(path: string): Promise<Answer> {
    return answerOf(await this.fetch(path));
  }

  async post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const response = await this.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: this.origin, ...headers },
      body: JSON.stringify(body),
    });
    const [set] = response.headers.getSetCookie();
    if (set !== undefined) this.#cookie = set.split(';', 1)[0] ?? '';
    return answerOf(response);
  }

  async login(user: string, secret: string = password): Promise<number> {
    return (await this.post('/api/login', { user, password: secret })).status;
  }
}

function headersOf({ headers }: RequestInit): Record<string, string> {
  return Object.fromEntries(new Headers(headers).entries());
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, body: isJson ? JSON.parse(text) : text };
}
