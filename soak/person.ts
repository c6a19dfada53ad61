/** A person at the auditor's page, who decides about what is held, now this way and now that. */
import { openAccounts } from '../auditor/page/accounts.ts';
import type { Generator } from '../fuzz/generator.ts';
import { hashPassword } from '../web/password.ts';

const name = 'anna';
const password = 'one of ten characters or more';
const denyProbability = 0.2;

/** What the page says is held. */
interface HeldList {
  readonly total: number;
  readonly held: readonly { readonly id: number; readonly decision?: object }[];
}

export class Person {
  readonly #origin: string;
  readonly #generator: Generator;
  #cookie = '';
  decided = 0;

  /** @param port - of the auditor's page */
  constructor(port: number, generator: Generator) {
    this.#origin = `http://127.0.0.1:${port}`;
    this.#generator = generator;
  }

  /** @param directory - the auditor's data */
  static async addAccount(directory: string): Promise<void> {
    const accounts = openAccounts(directory);
    accounts.add(name, 'releaser', await hashPassword(password));
    accounts.close();
  }

  /** Decides about whatever is shown. @returns how many are held still; undefined while the auditor is down */
  async decide(): Promise<number | undefined> {
    try {
      if (this.#cookie === '') await this.#login();
      const { held } = await this.#list();
      for (const { id, decision } of held) {
        if (decision !== undefined) continue;
        const outcome = this.#generator.chance(denyProbability) ? 'denied' : 'released';
        const response = await this.#post(`/api/held/${id}/decision`, { outcome });
        if (response.status === 204) this.decided += 1;
      }
      return (await this.#list()).total;
    } catch (error) {
      // Nobody answers while it is down, and a connection that was cut in the middle is no answer either.
      if (!(error instanceof TypeError)) throw error;
      return undefined;
    }
  }

  async #list(): Promise<HeldList> {
    const response = await fetch(`${this.#origin}/api/held`, { headers: { cookie: this.#cookie } });
    if (response.status === 200) return (await response.json()) as HeldList;
    throw new Error(`the auditor's page answered ${response.status}`);
  }

  async #login(): Promise<void> {
    const response = await this.#post('/api/login', { user: name, password });
    const [cookie] = response.headers.getSetCookie();
    if (cookie === undefined) throw new Error(`the auditor's page let nobody in: ${response.status}`);
    this.#cookie = cookie.split(';', 1)[0] ?? '';
  }

  #post(route: string, body: object): Promise<Response> {
    return fetch(`${this.#origin}${route}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: this.#origin, cookie: this.#cookie },
      body: JSON.stringify(body),
    });
  }
}
