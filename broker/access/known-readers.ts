/** Who may read a topic, remembered: it is asked for every message to every receiver, and the answer follows from the roles alone. */
import type { RoleTable } from './roles.ts';
import { isAllowed } from './tacs.ts';

/** Answers of all topics together; far more than are asked for between two changes of the roles. */
const answersMax = 100_000;

export class KnownReaders {
  /** By topic, then by identity. */
  #answers = new Map<string, Map<string, boolean>>();
  #count = 0;
  /** What the answers follow from. */
  #roles: RoleTable | undefined;

  mayRead(identity: string, topic: string, roles: RoleTable): boolean {
    if (roles !== this.#roles || this.#count >= answersMax) this.#forget(roles);
    let readers = this.#answers.get(topic);
    const known = readers?.get(identity);
    if (known !== undefined) return known;
    if (readers === undefined) this.#answers.set(topic, (readers = new Map()));
    const isReader = isAllowed(identity, 'subscribe', topic, roles);
    readers.set(identity, isReader);
    this.#count++;
    return isReader;
  }

  #forget(roles: RoleTable): void {
    this.#answers = new Map();
    this.#count = 0;
    this.#roles = roles;
  }
}
