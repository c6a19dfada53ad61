/** Who answers for what a client holds: its identity, its account and its master account (DESIGN §3). */
import type { BrokerLimits } from '../limits.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';

export type Share = 'identity' | 'account' | 'masterAccount';

/** A bound for each share. */
export type Bounds = Readonly<Record<Share, number>>;

/** The limits of each. */
export type ShareLimits = Pick<BrokerLimits, 'perIdentity' | 'perAccount' | 'perMasterAccount'>;

export function limitsOf(limits: ShareLimits, share: Share): BrokerLimits['perIdentity'] {
  if (share === 'identity') return limits.perIdentity;
  return share === 'account' ? limits.perAccount : limits.perMasterAccount;
}

/** Those that each share has. */
type BoundName = Exclude<keyof BrokerLimits['perIdentity'], 'queuedMessagesMax' | 'queuedBytesMax'>;

export function boundsOf(limits: ShareLimits, name: BoundName): Bounds {
  const { perIdentity, perAccount, perMasterAccount } = limits;
  return { identity: perIdentity[name], account: perAccount[name], masterAccount: perMasterAccount[name] };
}

/** In which order they are asked. */
export const shares: readonly Share[] = ['identity', 'account', 'masterAccount'];

/** Of a service, whose name is no path, the identity alone. */
export type Holder = Readonly<Record<Share, string | undefined>>;

export function holderOf(identity: string): Holder {
  if (parseNamespacePath(identity) === undefined) {
    return { identity, account: undefined, masterAccount: undefined };
  }
  const [masterAccount, account] = identity.split('/');
  return {
    identity,
    account: account === undefined ? undefined : `${masterAccount}/${account}`,
    masterAccount,
  };
}

/**
 * Whose topic it is, whoever wrote to it: so it is known after a restart too. Topics outside of the tree have no holder
 * but the broker.
 */
export function holderOfTopic(topic: string): Holder | undefined {
  const levels = topic.split('/', 3);
  const path = parseNamespacePath(levels.join('/'));
  if (path !== undefined) return holderOf(path);
  // Below a level that no certificate can name, as `$released`, only an owner above it may write.
  const owner = parseNamespacePath(levels.slice(0, 2).join('/')) ?? parseNamespacePath(levels[0] ?? '');
  return owner && { ...holderOf(owner), identity: undefined };
}

/** What each share holds of one thing. What is given back leaves nothing behind. */
export class Holdings {
  readonly #held: Readonly<Record<Share, Map<string, number>>> = {
    identity: new Map(),
    account: new Map(),
    masterAccount: new Map(),
  };

  /** How many are kept count of. */
  get size(): number {
    return shares.reduce((sum, share) => sum + this.#held[share].size, 0);
  }

  /** @param count - negative for what is given back */
  add(holder: Holder, count: number): void {
    for (const share of shares) {
      const name = holder[share];
      if (name === undefined) continue;
      const held = (this.#held[share].get(name) ?? 0) + count;
      if (held > 0) this.#held[share].set(name, held);
      else this.#held[share].delete(name);
    }
  }

  /** @returns whose bound would be exceeded by so many more, or undefined */
  exceededBy(count: number, holder: Holder, bounds: Bounds): Share | undefined {
    return shares.find((share) => {
      const name = holder[share];
      return name !== undefined && (this.#held[share].get(name) ?? 0) + count > bounds[share];
    });
  }
}

/** The name of a refusal, as `sessions_per_account_max`. */
export type ShareRefusal<What extends string> =
  `${What}_per_${'identity' | 'account' | 'master_account'}_max`;

export function shareRefusal<What extends string>(what: What, share: Share): ShareRefusal<What> {
  return `${what}_per_${share === 'masterAccount' ? 'master_account' : share}_max`;
}
