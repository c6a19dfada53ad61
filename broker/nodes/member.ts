/** One node of several: follows the shared log while another is active, and takes over when it may. */
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../runtime/log.ts';
import { backoffMs } from '../../runtime/retry.ts';
import { BrokerError } from '../errors.ts';
import type { Transport } from '../connection/transport.ts';
import type { Journal } from '../store/journal.ts';
import type { Confirm } from '../store/turn.ts';
import type { Channel } from './channel.ts';
import type { ClusterConfig } from './cluster-config.ts';
import type { ChannelPurpose } from './frames.ts';
import { lockDirectory } from './directory-lock.ts';
import type { ActiveLink } from './peers.ts';
import { relay } from './relay.ts';
import { Replica } from './replica.ts';
import { Replicator } from './replicator.ts';
import { SharedLog } from './shared-log.ts';
import type { Campaign, Holder, Place } from './shared-log.ts';
import { installSnapshot, receiveSnapshot, removeLeftovers, sendSnapshot } from './snapshot.ts';

export interface Leadership {
  readonly journal: Journal;
  readonly confirm: Confirm;
}

/** The state and its clients, as far as a node decides on their life. */
export interface Led {
  /** Opens the state. @throws BrokerError if it cannot be opened */
  lead(leadership: Leadership, onFailure: (error: BrokerError) => void): void;
  /** Reads nothing from anybody until `false`. */
  hold(isHeld: boolean): void;
  /** Closes everybody after the last answer. */
  retire(): Promise<void>;
  /** Closes everybody at once: no answer would be true. */
  abandon(reason: BrokerError): void;
}

export interface MemberOptions {
  readonly config: ClusterConfig;
  readonly directory: string;
  readonly durability: 'disk' | 'os';
  readonly storeBytesMax: number;
  readonly log: Log;
  readonly led: Led;
  readonly active: ActiveLink;
  /** This node is not active any more, or leaves: nobody gets anything from it. */
  readonly onLeft: () => void;
  readonly monotonicMs: () => number;
}

/** A node that joins has no copy of the state: it passes clients on as a front does, but cannot take over. */
export type Role = 'joining' | 'front' | 'active';

export interface MemberState {
  readonly node: string;
  readonly role: Role;
  readonly epoch: number;
  /** Of the last entry that this copy has, */
  readonly position: number;
  /** and how many it lacks, or how many Redis has not confirmed. */
  readonly lag: number;
  readonly activeNode: string | undefined;
  readonly redisConnected: boolean;
  readonly redisRoundTripMs: number;
  readonly reason: string | undefined;
}

type Ending =
  { readonly kind: 'fenced' | 'stopping' } | { readonly kind: 'failed'; readonly error: BrokerError };

const retry = { firstMs: 100, maxMs: 2000 };
/** Parts of a lease after which it is asked for, renewed. */
const campaignsPerLease = 8;
const renewalsPerLease = 3;
const leasesPerTrim = 2;
/** After which a snapshot that was sent is in its place. */
const leasesPerSnapshot = 10;
/** For the last answers, where Redis does not confirm them. */
const retireMs = 5000;

export class Member {
  readonly #options: MemberOptions;
  readonly #log: Log;
  readonly #sharedLog: SharedLog;
  readonly #lock: { unlock(): void };
  readonly #leaseMs: number;
  #replica: Replica | undefined;
  #replicator: Replicator | undefined;
  #role: Role = 'joining';
  #holder: Holder | undefined;
  #lastPosition = 0;
  #mayLeadFromMs = Infinity;
  #failure: string | undefined;
  #endLeading: ((ending: Ending) => void) | undefined;
  readonly #stopping = new AbortController();
  #snapshots = 0;
  #snapshotAwaitedMs = 0;
  #running: Promise<void> | undefined;

  /** @throws BrokerError `broker.store_locked`, `broker.store_failed` */
  constructor(options: MemberOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#leaseMs = options.config.leaseSeconds * 1000;
    this.#lock = lockDirectory(options.directory);
    removeLeftovers(options.directory, readdirSync(options.directory));
    this.#replica = this.#openReplica();
    this.#sharedLog = new SharedLog(options.config, options.log);
  }

  get isActive(): boolean {
    return this.#role === 'active';
  }

  get state(): MemberState {
    const place = this.#replicator?.place ?? this.#replica?.place;
    const last = this.#replicator?.confirmed ?? this.#lastPosition;
    return {
      node: this.#options.config.node,
      role: this.#role,
      epoch: place?.epoch ?? 0,
      position: place?.position ?? 0,
      lag: Math.abs(last - (place?.position ?? 0)),
      activeNode: this.#role === 'active' ? this.#options.config.node : this.#holder?.node,
      redisConnected: this.#sharedLog.isConnected,
      redisRoundTripMs: this.#replicator?.roundTripMs ?? 0,
      reason: this.#reason,
    };
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Passes a client to the active node. @returns false while there is none */
  pass(client: Transport, purpose: ChannelPurpose): boolean {
    const { link } = this.#options.active;
    if (link === undefined || this.#role === 'active') return false;
    relay(client, link.open(purpose));
    return true;
  }

  /** Sends this node's copy to one that cannot follow the log. */
  async serveSnapshot(channel: Channel): Promise<void> {
    if (this.#role !== 'active' || this.#snapshots > 0) {
      channel.destroy();
      return;
    }
    this.#snapshots++;
    try {
      const bytes = await sendSnapshot(this.#options.directory, channel);
      this.#log.info({ bytes }, 'snapshot.sent');
    } catch (error) {
      channel.destroy();
      this.#log.error({ reason: textOf(error) }, 'snapshot.failed');
    } finally {
      this.#snapshots--;
      this.#snapshotAwaitedMs = this.#options.monotonicMs() + leasesPerSnapshot * this.#leaseMs;
    }
  }

  /** Leaves; an active node first answers what it was asked, so that another takes over without a loss of time. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#endLeading?.({ kind: 'stopping' });
    this.#options.active.close();
    // What waits for entries ends with its connection.
    if (this.#role !== 'active') this.#sharedLog.close();
    await this.#running;
    this.#sharedLog.close();
    this.#options.onLeft();
    this.#replica?.close();
    this.#lock.unlock();
  }

  get #reason(): string | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#role === 'active') {
      return this.#replicator?.failure === undefined ? undefined : `Redis: ${this.#replicator.failure}`;
    }
    if (this.#options.active.link === undefined) return 'no node is active';
    return this.#role === 'joining' ? 'this node has no copy of the state yet' : undefined;
  }

  async #run(): Promise<void> {
    await this.#sharedLog.untilConnected(this.#stopping.signal).catch(() => undefined);
    for (let attempt = 0; !this.#stopping.signal.aborted;) {
      try {
        await this.#step();
        attempt = 0;
        this.#failure = undefined;
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (this.#failure === undefined) this.#log.error({ reason: textOf(error) }, 'node.failed');
        this.#failure = textOf(error);
        await sleep(backoffMs(attempt++, retry));
      }
    }
  }

  async #step(): Promise<void> {
    if (this.#role === 'joining' && this.#options.durability === 'disk')
      await this.#sharedLog.requireDurability();
    const replica = (this.#replica ??= this.#openReplica());
    const place = replica.place;
    if (place === undefined) return this.#begin(replica);
    const campaign = await this.#sharedLog.campaign(place, this.#mayLead());
    this.#learn(campaign, place);
    switch (campaign.kind) {
      case 'unfounded':
        return this.#restore(place);
      case 'foreign':
        return this.#replaceCopy(replica, campaign.holder);
      case 'acquired':
        return this.#lead(replica, place, campaign.epoch);
      case 'held':
        if (!campaign.isKnown) return this.#replaceCopy(replica, campaign.holder);
        return this.#follow(replica, place.epoch);
      case 'open':
        return this.#follow(replica, place.epoch);
    }
  }

  #mayLead(): boolean {
    const { returnedMs } = this.#sharedLog;
    // Whoever was active when Redis went away is the first to have the lease again.
    const sinceReturnMs = Date.now() - returnedMs;
    return this.#options.monotonicMs() >= this.#mayLeadFromMs && sinceReturnMs >= this.#leaseMs;
  }

  #learn(campaign: Campaign, place: Place): void {
    const holder = 'holder' in campaign ? campaign.holder : undefined;
    const isOther = holder !== undefined && holder.node !== this.#options.config.node;
    this.#options.active.toward(isOther ? holder : undefined);
    this.#holder = holder;
    if (campaign.kind === 'open' || campaign.kind === 'held') {
      this.#lastPosition = campaign.position;
      if (this.#mayLeadFromMs === Infinity) {
        // Entries that nobody else has were never answered: those who have all that was go first.
        const isAhead = place.position > campaign.position;
        this.#mayLeadFromMs = this.#options.monotonicMs() + (isAhead ? 2 * this.#leaseMs : 0);
      }
      if (campaign.isKnown) this.#become('front');
    }
    if (campaign.kind === 'unfounded') this.#mayLeadFromMs = 0;
  }

  #become(role: Role): void {
    if (this.#role === role) return;
    this.#role = role;
    const { node } = this.#options.config;
    this.#log.info(
      { node, activeNode: this.#holder?.node },
      role === 'active' ? 'node.active' : 'node.front',
    );
  }

  /** A copy that has never been part of a cluster: the first one's is what the cluster begins with. */
  async #begin(replica: Replica): Promise<void> {
    const lineage = randomUUID();
    const founded = await this.#sharedLog.campaign({ lineage, position: 0, epoch: 0 }, false);
    if (founded.kind !== 'unfounded') {
      return this.#replaceCopy(replica, 'holder' in founded ? founded.holder : undefined);
    }
    const place = replica.beginLineage(lineage);
    this.#log.info({ lineage }, 'cluster.founded');
    await this.#sharedLog.found(place);
    return undefined;
  }

  /** Redis knows nothing of a cluster that this copy was part of. */
  async #restore(place: Place): Promise<void> {
    if (place.epoch > 0 && !this.#options.config.restore) {
      throw new BrokerError(
        'broker.cluster_refused',
        `Redis has no log of this cluster any more; to go on with this node's copy (position ${place.position}), ` +
          'set `cluster.restore: true` on this node alone',
      );
    }
    await this.#sharedLog.found(place);
    this.#log.warn({ position: place.position }, 'cluster.restored');
  }

  async #follow(replica: Replica, epoch: number): Promise<void> {
    const untilMs = this.#options.monotonicMs() + this.#leaseMs / campaignsPerLease;
    while (!this.#stopping.signal.aborted) {
      const waitMs = Math.ceil(untilMs - this.#options.monotonicMs());
      const place = replica.place;
      if (waitMs <= 0 || place === undefined) return;
      const entries = await this.#sharedLog.read(place, waitMs);
      if (entries.length === 0) return;
      const applied = replica.apply(entries);
      if (applied === 'other_version') {
        throw new BrokerError('broker.cluster_refused', 'the active node is of another version');
      }
      if (applied === 'diverged') return this.#replaceCopy(replica, this.#holder);
      this.#lastPosition = Math.max(this.#lastPosition, replica.place?.position ?? 0);
      // Another node is active: who, the next step learns.
      if (replica.place?.epoch !== epoch) return;
    }
  }

  /** Takes the active node's copy in the place of one that is not of its log, or not any more. */
  async #replaceCopy(replica: Replica, holder: Holder | undefined): Promise<void> {
    const { directory, active, config } = this.#options;
    this.#role = 'joining';
    this.#holder = holder;
    if (replica.place === undefined && !replica.isEmpty) {
      throw new BrokerError(
        'broker.cluster_refused',
        `${directory} holds a broker's state that is not that of the cluster: empty it, or begin the cluster with it`,
      );
    }
    active.toward(holder?.node === config.node ? undefined : holder);
    const { link } = active;
    if (link === undefined) return sleep(this.#leaseMs / campaignsPerLease);
    const bytes = await receiveSnapshot(directory, link.open({ kind: 'snapshot' }));
    replica.close();
    this.#replica = undefined;
    installSnapshot(directory);
    this.#replica = this.#openReplica();
    this.#log.info({ bytes, position: this.#replica.place?.position }, 'snapshot.received');
    return undefined;
  }

  async #lead(replica: Replica, place: Place, epoch: number): Promise<void> {
    const { led } = this.#options;
    const ended = new Promise<Ending>((resolve) => (this.#endLeading = resolve));
    const replicator = new Replicator({
      log: this.#log,
      sharedLog: this.#sharedLog,
      place,
      epoch,
      onHold: (isHeld) => led.hold(isHeld),
      onFenced: () => this.#endLeading?.({ kind: 'fenced' }),
    });
    this.#replicator = replicator;
    const renewal = setInterval(() => void this.#renew(replicator), this.#leaseMs / renewalsPerLease);
    const trimming = setInterval(() => void this.#trim(replicator), leasesPerTrim * this.#leaseMs);
    try {
      const first = await Promise.race([replicator.begin(), ended]);
      if (first !== undefined) return await this.#end(replicator, first);
      replica.moveTo(replicator.place);
      replica.close();
      this.#replica = undefined;
      led.lead({ journal: replicator, confirm: (release) => replicator.confirm(release) }, (error) =>
        this.#endLeading?.({ kind: 'failed', error }),
      );
      this.#become('active');
      return await this.#end(replicator, await ended);
    } catch (error) {
      await this.#release(replicator);
      throw error;
    } finally {
      clearInterval(renewal);
      clearInterval(trimming);
      replicator.stop();
      this.#replicator = undefined;
      this.#endLeading = undefined;
      this.#options.onLeft();
      // Let another one try first.
      this.#mayLeadFromMs = this.#options.monotonicMs() + 2 * this.#leaseMs;
    }
  }

  async #end(replicator: Replicator, ending: Ending): Promise<void> {
    const { led } = this.#options;
    const wasActive = this.#role === 'active';
    this.#holder = undefined;
    this.#become('front');
    switch (ending.kind) {
      case 'fenced':
        this.#log.error({ epoch: replicator.place.epoch }, 'node.fenced');
        replicator.stop();
        if (wasActive) led.abandon(new BrokerError('broker.cluster_fenced', 'another node is active'));
        return;
      case 'failed':
        await this.#release(replicator);
        throw ending.error;
      case 'stopping':
        if (wasActive) await this.#retire(replicator);
        await this.#release(replicator);
    }
  }

  async #retire(replicator: Replicator): Promise<void> {
    const { led } = this.#options;
    const retired = led.retire();
    const late = new AbortController();
    const lateness = sleep(retireMs, 'late' as const, { signal: late.signal }).catch(() => undefined);
    if ((await Promise.race([retired, lateness])) === 'late') {
      replicator.stop();
      led.abandon(new BrokerError('broker.cluster_fenced', 'Redis does not confirm'));
    }
    late.abort();
  }

  async #release(replicator: Replicator): Promise<void> {
    await this.#sharedLog.release(replicator.place).catch((error: unknown) => {
      this.#log.warn({ reason: textOf(error) }, 'node.release_failed');
    });
  }

  async #renew(replicator: Replicator): Promise<void> {
    try {
      const place = { ...replicator.place, position: replicator.confirmed };
      const renewed = await this.#sharedLog.renew(place);
      if (renewed.kind === 'fenced') this.#endLeading?.({ kind: 'fenced' });
      else replicator.compare(renewed.kind === 'ok' ? renewed.position : undefined);
    } catch (error) {
      this.#log.debug({ reason: textOf(error) }, 'node.renewal_failed');
    }
  }

  async #trim(replicator: Replicator): Promise<void> {
    try {
      // Who gets a snapshot follows from there: what is written meanwhile must not be gone when it is in place.
      const isAwaited = this.#snapshots > 0 || this.#options.monotonicMs() < this.#snapshotAwaitedMs;
      const entriesMax = isAwaited ? Number.MAX_SAFE_INTEGER : undefined;
      const { trimmed, first } = await this.#sharedLog.trim(replicator.place, entriesMax);
      if (trimmed > 0) this.#log.debug({ trimmed, first }, 'log.trimmed');
    } catch (error) {
      this.#log.debug({ reason: textOf(error) }, 'log.trim_failed');
    }
  }

  #openReplica(): Replica {
    const { directory, durability, storeBytesMax } = this.#options;
    return new Replica(directory, { durability, bytesMax: storeBytesMax });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
