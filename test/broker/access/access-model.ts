/** What a broker owes to whom, worked out from the access rules alone: no connections, no queues, no store. */
import { innerFilter, isShared } from '../../../broker/access/shared-filter.ts';
import type { RoleTable } from '../../../broker/access/roles.ts';
import { isAllowed } from '../../../broker/access/tacs.ts';
import { filterCovers } from '../../../domain/topic.ts';

export type Qos = 0 | 1 | 2;

/** One certificate's client under one client identifier: its session outlives its connections. */
export interface Party {
  readonly identity: string;
  readonly clientId: string;
  readonly version: 4 | 5;
  isConnected: boolean;
  readonly subscriptions: Map<string, Qos>;
  /** What it is to get and has not got. */
  owed: Owed[];
  will: Will | undefined;
}

export interface Owed {
  readonly topic: string;
  readonly payload: string;
}

export interface Will extends Owed {
  readonly isDelayed: boolean;
}

/** Through a shared subscription one of them gets it, and it matters not who. */
interface OwedToOne extends Owed {
  readonly parties: readonly Party[];
  /** One of them was connected while it had no right to it: if it was the one, nobody gets it any more. */
  mayBeWithheld: boolean;
  /** Who got it, as far as one can tell: of several alike, who got which is seen when all have been found. */
  takenBy: Party | undefined;
}

export class AccessModel {
  roles: RoleTable;
  readonly parties: readonly Party[];
  readonly #retained = new Map<string, { readonly payload: string; readonly qos: Qos }>();
  #owedToOne: OwedToOne[] = [];
  #lateWills = new Map<Party, Will>();

  constructor(roles: RoleTable, parties: readonly Party[]) {
    this.roles = roles;
    this.parties = parties;
  }

  mayPublish({ identity }: Party, topic: string): boolean {
    return isAllowed(identity, 'publish', topic, this.roles);
  }

  maySubscribe({ identity }: Party, filter: string): boolean {
    const asked = isShared(filter) ? innerFilter(filter) : filter;
    return asked !== undefined && isAllowed(identity, 'subscribe', asked, this.roles);
  }

  mayReceive({ identity }: Party, topic: string): boolean {
    return isAllowed(identity, 'subscribe', topic, this.roles);
  }

  /** @returns whether it is granted; then what is retained is owed */
  subscribe(party: Party, filter: string, qos: Qos): boolean {
    if (!this.maySubscribe(party, filter)) return false;
    party.subscriptions.set(filter, qos);
    if (isShared(filter)) return true;
    for (const [topic, { payload }] of this.#retained) {
      if (filterCovers(filter, topic) && this.mayReceive(party, topic)) party.owed.push({ topic, payload });
    }
    return true;
  }

  /** Of one who may. */
  publish(topic: string, payload: string, qos: Qos, retain: boolean): void {
    if (retain) this.#retained.set(topic, { payload, qos });
    const groups = new Map<string, Party[]>();
    for (const party of this.parties) {
      let best: Qos | undefined;
      for (const [filter, granted] of party.subscriptions) {
        const isOfGroup = isShared(filter);
        if (!filterCovers((isOfGroup ? innerFilter(filter) : filter) ?? '', topic)) continue;
        const isKept = party.isConnected || Math.min(granted, qos) > 0;
        if (!this.mayReceive(party, topic)) continue;
        if (isOfGroup) {
          // The members are those of one identity: whoever shares with others shares nothing with a stranger.
          const key = `${party.identity} ${filter}`;
          const members = groups.get(key) ?? [];
          groups.set(key, members);
          if (isKept) members.push(party);
        } else if (best === undefined || granted > best) best = granted;
      }
      // [MQTT-3.3.5-1]: once, at the highest QoS of those that match.
      if (best !== undefined && (party.isConnected || Math.min(best, qos) > 0))
        party.owed.push({ topic, payload });
    }
    for (const members of groups.values()) {
      if (members.length > 0) {
        this.#owedToOne.push({ topic, payload, parties: members, mayBeWithheld: false, takenBy: undefined });
      }
    }
  }

  connected(party: Party, will: Will | undefined): void {
    // [MQTT-3.1.3-9]; a connection that it takes over ends without a goodbye.
    if (party.isConnected) this.lost(party);
    this.#lateWills.delete(party);
    party.isConnected = true;
    party.will = will;
  }

  /** Without a goodbye. */
  lost(party: Party): void {
    const { will } = party;
    party.isConnected = false;
    party.will = undefined;
    if (will === undefined) return;
    if (will.isDelayed) this.#lateWills.set(party, will);
    else this.#publishWill(party, will);
  }

  left(party: Party): void {
    party.isConnected = false;
    party.will = undefined;
  }

  /** Longer than any delay. */
  timePassed(): void {
    for (const [party, will] of this.#lateWills) this.#publishWill(party, will);
    this.#lateWills.clear();
  }

  rightsChanged(roles: RoleTable): void {
    this.roles = roles;
    for (const party of this.parties) {
      for (const filter of party.subscriptions.keys()) {
        if (!this.maySubscribe(party, filter)) party.subscriptions.delete(filter);
      }
    }
  }

  /**
   * A connected party has got all that came to it.
   *
   * @returns what is wrong with it, if anything
   */
  settle(party: Party, received: readonly Owed[]): string | undefined {
    const left = [...received];
    for (const owed of party.owed) {
      if (!this.mayReceive(party, owed.topic)) continue;
      const index = left.findIndex((one) => isSame(one, owed));
      if (index < 0) return `${name(party)} did not get ${text(owed)}`;
      left.splice(index, 1);
    }
    party.owed = [];
    for (const extra of left) {
      if (!this.mayReceive(party, extra.topic)) return `${name(party)} got ${text(extra)} without a right`;
      const alike = this.#owedToOne.filter((one) => isSame(one, extra));
      if (!take(party, alike, new Set())) return `${name(party)} got ${text(extra)}`;
    }
    for (const owed of this.#owedToOne) {
      if (owed.parties.includes(party) && !this.mayReceive(party, owed.topic)) owed.mayBeWithheld = true;
    }
    return undefined;
  }

  /** After everybody has settled. @returns a message that none of a group got */
  unsettled(): string | undefined {
    const lost = this.#owedToOne.find(
      ({ parties, topic, mayBeWithheld, takenBy }) =>
        takenBy === undefined && !mayBeWithheld && parties.some((party) => this.mayReceive(party, topic)),
    );
    this.#owedToOne = [];
    return lost && `none of ${lost.parties.map(name).join(', ')} got ${text(lost)}`;
  }

  #publishWill(party: Party, { topic, payload }: Will): void {
    if (this.mayPublish(party, topic)) this.publish(topic, payload, 1, false);
  }
}

/** Gives the party one of them; whoever had it gets another, if that makes room for both (an augmenting path). */
function take(party: Party, alike: readonly OwedToOne[], tried: Set<OwedToOne>): boolean {
  for (const owed of alike) {
    if (tried.has(owed) || !owed.parties.includes(party)) continue;
    tried.add(owed);
    if (owed.takenBy !== undefined && !take(owed.takenBy, alike, tried)) continue;
    owed.takenBy = party;
    return true;
  }
  return false;
}

function isSame(one: Owed, other: Owed): boolean {
  return one.topic === other.topic && one.payload === other.payload;
}

function name({ identity, clientId }: Party): string {
  return `${identity} as ${clientId}`;
}

function text({ topic, payload }: Owed): string {
  return `${topic}=${payload}`;
}
