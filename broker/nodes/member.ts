/** One node of several: follows the shared log while another is active, and takes over when it may. */
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../domain/error-text.ts';
import type { Log } from '../../runtime/log.ts';
import { backoffMs } from '../../runtime/retry.ts';
import { BrokerError } from '../errors.ts';
import type { Transport } from '../connection/transport.ts';
import { Candidacy } from './candidacy.ts';
import type { Channel } from './channel.ts';
import type { ClusterConfig } from './cluster-config.ts';
import type { ChannelPurpose } from './frames.ts';
import { lockDirectory } from './directory-lock.ts';
import type { Led } from './led.ts';
import { keepLease } from './lease-upkeep.ts';
import type { MemberState, Role } from './member-state.ts';
import type { ActiveLink } from './peers.ts';
import { relay } from './relay.ts';
import { Replica } from './replica.ts';
import { Replicator } from './replicator.ts';
import { SharedLog } from './shared-log.ts';
import type { Campaign, Holder, Place } from './shared-log.ts';
import { installSnapshot, receiveSnapshot, removeLeftovers } from './snapshot.ts';
import { SnapshotDesk } from './snapshot-desk.ts';

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

type Ending =
  { readonly kind: 'fenced' | 'stopping' } | { readonly kind: 'failed'; readonly error: BrokerError };

const retry = { firstMs: 100, maxMs: 2000 };
/** Parts of a lease after which it is asked for. */
const campaignsPerLease = 8;
/** For the last answers, where Redis does not confirm them. */
const retireMs = 5000;
/** For a farewell to a Redis that does not answer. */
const leaveMs = 1000;

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
  readonly #candidacy: Candidacy;
  #failure: string | undefined;
  /** Since when another process has had this node's name. */
  #namesakeSinceMs: number | undefined;
  #endLeading: ((ending: Ending) => void) | undefined;
  readonly #stopping = new AbortController();
  readonly #snapshots: SnapshotDesk;
  #running: Promise<void> | undefined;

  /** @throws BrokerError `broker.store_locked`, `broker.store_failed` */
  constructor(options: MemberOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#leaseMs = options.config.leaseSeconds * 1000;
    this.#candidacy = new Candidacy(this.#leaseMs);
    this.#lock = lockDirectory(options.directory);
    removeLeftovers(options.directory, readdirSync(options.directory));
    this.#replica = this.#openReplica();
    this.#sharedLog = new SharedLog(options.config, options.log);
    this.#snapshots = new SnapshotDesk(options, this.#leaseMs);
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
    if (this.#replicator === undefined || this.#role !== 'active') channel.destroy();
    else await this.#snapshots.serve(channel, this.#replicator.confirmed);
  }

  /** Leaves; an active node first answers what it was asked, so that another takes over without a loss of time. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#endLeading?.({ kind: 'stopping' });
    this.#options.active.close();
    if (this.#role !== 'active') {
      if (this.#namesakeSinceMs === undefined) await this.#leave(this.#replica?.place);
      // What waits for entries ends with its connection.
      this.#sharedLog.close();
    }
    await this.#running;
    this.#sharedLog.close();
    this.#options.onLeft();
    this.#replica?.close();
    this.#lock.unlock();
  }

  get #reason(): string | undefined {
    if (this.#role !== 'active' && this.#options.active.link === undefined && !this.#sharedLog.isConnected) {
      return `Redis: ${this.#sharedLog.failure ?? 'not connected yet'}`;
    }
    if (this.#failure !== undefined) return this.#failure;
    if (this.#role === 'active') {
      return this.#replicator?.failure === undefined ? undefined : `Redis: ${this.#replicator.failure}`;
    }
    if (this.#options.active.link === undefined) return this.#idleness;
    return this.#role === 'joining' ? 'this node has no copy of the state yet' : undefined;
  }

  get #idleness(): string {
    const place = this.#replica?.place;
    if (place === undefined || !this.#candidacy.isRobbed(place)) return 'no node is active';
    return (
      `no node is active: Redis has lost what it confirmed, and this node's copy (position ${place.position}) lacks it; ` +
      'start one that has it, or this one again to go on without it'
    );
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
        if (this.#failure === undefined) this.#log.error({ reason: errorText(error) }, 'node.failed');
        this.#failure = errorText(error);
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
    const campaign = await this.#sharedLog.campaign(
      place,
      this.#candidacy.claim(place, this.#options.monotonicMs(), this.#sharedLog.connectedMs),
    );
    if (campaign.kind === 'namesake') return this.#waitForName();
    this.#namesakeSinceMs = undefined;
    this.#learn(campaign);
    switch (campaign.kind) {
      case 'unfounded':
        return this.#restore(place);
      case 'foreign':
        requireEmpty(replica, this.#options.directory);
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

  /** An earlier process of this node has its name for as long as a lease; whoever has it for longer is another one. */
  async #waitForName(): Promise<void> {
    const { active, config, monotonicMs } = this.#options;
    this.#namesakeSinceMs ??= monotonicMs();
    this.#role = 'joining';
    active.toward(undefined);
    if (monotonicMs() - this.#namesakeSinceMs > 2 * this.#leaseMs) {
      throw new BrokerError(
        'broker.cluster_refused',
        `another process is node "${config.node}" of this cluster: each node needs a name of its own (cluster.node)`,
      );
    }
    await sleep(this.#leaseMs / campaignsPerLease);
  }

  #learn(campaign: Campaign): void {
    const holder = 'holder' in campaign ? campaign.holder : undefined;
    const isOther = holder !== undefined && holder.node !== this.#options.config.node;
    this.#options.active.toward(isOther ? holder : undefined);
    if (isOther) this.#candidacy.follow();
    this.#holder = holder;
    if (campaign.kind === 'open' || campaign.kind === 'held') {
      this.#lastPosition = campaign.position;
      this.#candidacy.learn(campaign, this.#options.monotonicMs());
      if (campaign.isKnown) this.#become('front');
    }
  }

  #become(role: Role): void {
    if (this.#role === role) return;
    this.#role = role;
    const { node } = this.#options.config;
    if (role === 'active') this.#log.info({ node, epoch: this.#replicator?.place.epoch }, 'node.active');
    else this.#log.info({ node, activeNode: this.#holder?.node }, 'node.front');
  }

  /** A copy that has never been part of a cluster: the first one's is what the cluster begins with. */
  async #begin(replica: Replica): Promise<void> {
    const lineage = randomUUID();
    const founded = await this.#sharedLog.campaign({ lineage, position: 0, epoch: 0 }, 'none');
    if (founded.kind === 'namesake') return this.#waitForName();
    if (founded.kind !== 'unfounded') {
      requireEmpty(replica, this.#options.directory);
      return this.#replaceCopy(replica, 'holder' in founded ? founded.holder : undefined);
    }
    const place = replica.beginLineage(lineage);
    this.#log.info({ lineage }, 'cluster.founded');
    if ((await this.#sharedLog.found(place)) === lineage) this.#candidacy.founded();
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
    // Whoever set it has seen to it that nobody else is active.
    if ((await this.#sharedLog.found(place)) === place.lineage) this.#candidacy.founded();
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
    this.#candidacy.lead();
    if (this.#stopping.signal.aborted) return this.#release({ ...place, epoch });
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
    const endUpkeep = keepLease({
      log: this.#log,
      sharedLog: this.#sharedLog,
      replicator,
      snapshots: this.#snapshots,
      leaseMs: this.#leaseMs,
      onFenced: () => this.#endLeading?.({ kind: 'fenced' }),
    });
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
      this.#failure = undefined; // of an attempt before; this one lasts
      return await this.#end(replicator, await ended);
    } catch (error) {
      await this.#release(replicator.place);
      throw error;
    } finally {
      endUpkeep();
      replicator.stop();
      this.#replicator = undefined;
      this.#endLeading = undefined;
      this.#options.onLeft();
      this.#candidacy.led(this.#options.monotonicMs());
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
        await this.#release(replicator.place);
        throw ending.error;
      case 'stopping':
        if (wasActive) await this.#retire(replicator);
        await this.#release(replicator.place);
        await this.#leave(replicator.place);
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

  async #release(place: Place): Promise<void> {
    await this.#sharedLog.release(place).catch((error: unknown) => {
      this.#log.warn({ reason: errorText(error) }, 'node.release_failed');
    });
  }

  /** So that the next process of this node need not wait for its name. */
  async #leave(place: Place | undefined): Promise<void> {
    if (place === undefined || !this.#sharedLog.isConnected) return;
    const late = new AbortController();
    const left = this.#sharedLog.leave(place).catch(() => undefined);
    await Promise.race([left, sleep(leaveMs, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
  }

  #openReplica(): Replica {
    const { directory, durability, storeBytesMax } = this.#options;
    return new Replica(directory, { durability, bytesMax: storeBytesMax });
  }
}

/** @throws BrokerError `broker.cluster_refused`: its copy would be lost, and it is no older one of the cluster's */
function requireEmpty(replica: Replica, directory: string): void {
  if (replica.isEmpty) return;
  throw new BrokerError(
    'broker.cluster_refused',
    `${directory} holds a broker's state that is not that of the cluster: empty it, or begin the cluster with it`,
  );
}
