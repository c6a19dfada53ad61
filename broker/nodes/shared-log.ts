/** The log and the lease that the nodes of a cluster share in Redis. Nobody else speaks to Redis. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { errorText } from '../../domain/error-text.ts';
import type { Log } from '../../runtime/log.ts';
import { backoffMs } from '../../runtime/retry.ts';
import { BrokerError } from '../errors.ts';
import type { Mark } from '../store/journal.ts';
import type { ClusterConfig } from './cluster-config.ts';
import {
  appendScript,
  campaignScript,
  foundScript,
  leaveScript,
  rebaseScript,
  releaseScript,
  renewScript,
  trimScript,
} from './scripts.ts';

/** A place in the history of one cluster's state, which its lineage names. */
export interface Place extends Mark {
  readonly lineage: string;
}

/** Who is active. */
export interface Holder {
  readonly node: string;
  /** host:port of its links. */
  readonly address: string;
  readonly epoch: number;
}

export interface LogEntry extends Mark {
  readonly entry: Buffer;
}

/** Of a copy with the log. */
export interface Comparison {
  /** Its last entry is in the log, so it can be followed from there. */
  readonly isKnown: boolean;
  /** It has entries, or an epoch, that Redis does not know. */
  readonly isAhead: boolean;
  /** Of the log's last entry, */
  readonly position: number;
  /** and its epoch. */
  readonly tailEpoch: number;
}

/**
 * Whether a node takes a lease that is free: also if its copy is ahead of the log, only if it is not, or not at all. It gets
 * none in any case while the copy of another one, which has been heard of within a lease, has more.
 */
export type Claim = 'any' | 'even' | 'none';

export type Campaign =
  /** Redis knows nothing of this cluster. */
  | { readonly kind: 'unfounded' }
  /** Another process has this node's name, or had it within the last lease. */
  | { readonly kind: 'namesake' }
  /** The copy has another beginning than the cluster's. */
  | { readonly kind: 'foreign'; readonly holder: Holder | undefined }
  | (Comparison & { readonly kind: 'held'; readonly holder: Holder })
  /** Nobody is active, and this node may not be: it has not got everything, or did not claim the lease. */
  | (Comparison & { readonly kind: 'open' })
  | { readonly kind: 'acquired'; readonly epoch: number };

export type Appended =
  | { readonly kind: 'ok' | 'fenced' | 'unfounded' }
  /** Redis has lost what it had confirmed: this is the last entry that it has. */
  | { readonly kind: 'behind'; readonly position: number };

export type Renewed =
  | { readonly kind: 'fenced' | 'unfounded' }
  /** The last entry that Redis has. */
  | { readonly kind: 'ok'; readonly position: number };

const reconnect = { firstMs: 50, maxMs: 1000 };
/** Whoever was active must be back long before another one may take its lease. */
const reconnectsPerLease = 4;
/** A connection that answers nothing for so long is given up for another one. */
const silenceMs = 10_000;
const connectsPerLease = 2;
/** Even where a lease is short, a handshake takes its time. */
const connectMsMin = 1000;
/** Entries that one read brings at most; the octets follow from what a node reads in a turn. */
const readEntriesMax = 128;

export class SharedLog {
  readonly #config: ClusterConfig;
  readonly #log: Log;
  readonly #commands: Redis;
  /** One of its own, for it waits for entries. */
  readonly #reader: Redis;
  readonly #keys: readonly string[];
  /** Another one each time the node starts. */
  readonly #process = randomUUID();
  #readyMs = Infinity;
  #failure: string | undefined;

  constructor(config: ClusterConfig, log: Log) {
    this.#config = config;
    this.#log = log;
    // In braces, so that all are in one slot (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
    this.#keys = ['meta', 'log', 'lease', 'members'].map((key) => `plombe:{${config.name}}:${key}`);
    this.#commands = this.#open('commands');
    this.#reader = this.#open('reader');
  }

  /** Resolves once Redis answers. */
  async untilConnected(signal: AbortSignal): Promise<void> {
    await Promise.all(
      [this.#commands, this.#reader].map(async (connection) => {
        if (connection.status !== 'ready') await once(connection, 'ready', { signal });
      }),
    );
  }

  /** Whether Redis answers now. */
  get isConnected(): boolean {
    return this.#commands.status === 'ready';
  }

  /** Why Redis cannot be reached; undefined if it can, or if nothing is known yet. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** For how long Redis has been there, since the start or a loss. */
  get connectedMs(): number {
    return Math.max(0, performance.now() - this.#readyMs);
  }

  /**
   * An entry that was confirmed must survive a restart of Redis.
   *
   * @throws BrokerError `broker.cluster_refused`
   */
  async requireDurability(): Promise<void> {
    let settings: ReadonlyMap<string, string>;
    try {
      const answer = await Promise.all(
        ['appendonly', 'appendfsync'].map((name) => this.#commands.call('CONFIG', 'GET', name)),
      );
      settings = new Map(answer.map((pair) => [String(listOf(pair)[0]), String(listOf(pair)[1])]));
    } catch (error) {
      this.#log.warn({ reason: errorText(error) }, 'redis.durability_unknown');
      return;
    }
    const appendOnly = settings.get('appendonly');
    const fsync = settings.get('appendfsync');
    if (appendOnly === 'yes' && fsync === 'always') return;
    throw new BrokerError(
      'broker.cluster_refused',
      `durability: disk wants Redis with "appendonly yes" and "appendfsync always", ` +
        `it has "appendonly ${appendOnly}" and "appendfsync ${fsync}"`,
    );
  }

  /** @returns the lineage that the cluster has now, this one or an earlier founder's */
  async found({ lineage, position, epoch }: Place): Promise<string> {
    return String(await this.#run(foundScript, [lineage, position, epoch]));
  }

  async campaign(place: Place, claim: Claim): Promise<Campaign> {
    const { node, advertise, leaseSeconds } = this.#config;
    const [kind, first, known, position, ahead, tailEpoch] = listOf(
      await this.#run(campaignScript, [
        node,
        place.lineage,
        place.position,
        place.epoch,
        `${advertise.host}:${advertise.port}`,
        leaseSeconds * 1000,
        claim,
        this.#process,
      ]),
    );
    const comparison = {
      isKnown: known === '1',
      isAhead: ahead === '1',
      position: Number(position),
      tailEpoch: Number(tailEpoch),
    };
    switch (kind) {
      case 'unfounded':
      case 'namesake':
        return { kind };
      case 'foreign':
        return { kind, holder: holderOf(first) };
      case 'acquired':
        return { kind, epoch: Number(first) };
      case 'held': {
        const holder = holderOf(first);
        if (holder === undefined) throw new Error(`no holder: ${String(first)}`);
        return { kind, holder, ...comparison };
      }
      default:
        return { kind: 'open', ...comparison };
    }
  }

  /** @param place - the last entry that Redis has confirmed */
  async renew({ lineage, epoch, position }: Place): Promise<Renewed> {
    const { node, advertise, leaseSeconds } = this.#config;
    const address = `${advertise.host}:${advertise.port}`;
    const [kind, last] = listOf(
      await this.#run(renewScript, [
        lineage,
        epoch,
        node,
        address,
        leaseSeconds * 1000,
        position,
        this.#process,
      ]),
    );
    if (kind === 'fenced' || kind === 'unfounded') return { kind };
    return { kind: 'ok', position: Number(last) };
  }

  /** The name is free for another process. */
  async leave({ lineage, position }: Place): Promise<void> {
    await this.#run(leaveScript, [lineage, this.#config.node, position]);
  }

  async release({ lineage, epoch }: Place): Promise<void> {
    await this.#run(releaseScript, [lineage, epoch]);
  }

  async append(
    { lineage, epoch }: Place,
    firstPosition: number,
    entries: readonly Buffer[],
  ): Promise<Appended> {
    const [kind, position] = listOf(
      await this.#run(appendScript, [lineage, epoch, firstPosition, ...entries]),
    );
    if (kind === 'behind') return { kind, position: Number(position) };
    return { kind: kind === 'fenced' || kind === 'unfounded' ? kind : 'ok' };
  }

  /** @param base - the entry after which the log begins anew */
  async rebase({ lineage, epoch }: Place, base: Mark): Promise<'ok' | 'fenced'> {
    const [kind] = listOf(await this.#run(rebaseScript, [lineage, epoch, base.position, base.epoch]));
    return kind === 'fenced' ? kind : 'ok';
  }

  /**
   * @param snapshotPosition - of the oldest snapshot whose receiver has not said yet where it is
   * @returns how many entries the log has no more, and the first one that it has
   */
  async trim(
    { lineage, epoch }: Place,
    snapshotPosition?: number,
  ): Promise<{ trimmed: number; first: number }> {
    const { entriesMax, bytesMax, claimMinutes } = this.#config.log;
    const isAwaited = snapshotPosition !== undefined;
    const [trimmed, first] = listOf(
      await this.#run(trimScript, [
        lineage,
        epoch,
        isAwaited ? Number.MAX_SAFE_INTEGER : entriesMax,
        bytesMax,
        claimMinutes * 60_000,
        isAwaited ? snapshotPosition : '',
      ]),
    );
    return { trimmed: Number(trimmed), first: Number(first) };
  }

  /** @returns what follows a place, as it comes; nothing if nothing came in time */
  async read({ position, epoch }: Mark, waitMs: number): Promise<LogEntry[]> {
    const [, key] = this.#keys;
    const from = `${position}-${epoch}`;
    const limits = ['COUNT', readEntriesMax, 'BLOCK', waitMs];
    const answer = await this.#reader.callBuffer('XREAD', ...limits, 'STREAMS', String(key), from);
    if (answer === null) return [];
    const [stream] = listOf(answer);
    const [, entries] = listOf(stream);
    return listOf(entries).map(entryOf);
  }

  close(): void {
    this.#commands.disconnect();
    this.#reader.disconnect();
  }

  #open(name: string): Redis {
    const { redis, redisPasswordFile, redisCaFile } = this.#config;
    const password =
      redisPasswordFile === undefined
        ? undefined
        : readFileSync(redisPasswordFile, 'utf8').split(/\r?\n/, 1)[0];
    const leaseMs = this.#config.leaseSeconds * 1000;
    const limits = { ...reconnect, maxMs: Math.min(reconnect.maxMs, leaseMs / reconnectsPerLease) };
    let attempt = 0;
    const connection = new Redis(redis, {
      protocol: 2,
      connectionName: `plombe-${this.#config.node}-${name}`,
      // Whoever asks decides on its own whether and when to ask again.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      socketTimeout: silenceMs,
      connectTimeout: Math.max(connectMsMin, leaseMs / connectsPerLease),
      retryStrategy: () => backoffMs(attempt++, limits),
      ...(password === undefined ? {} : { password }),
      // Pinned: the operating system's trust store is never consulted.
      ...(redisCaFile === undefined ? {} : { tls: { ca: readFileSync(redisCaFile) } }),
    });
    connection.on('ready', () => {
      if (name === 'commands') this.#readyMs = performance.now();
      attempt = 0;
      this.#failure = undefined;
      this.#log.info({ connection: name }, 'redis.connected');
    });
    connection.on('error', (error: Error) => {
      this.#failure = error.message;
      this.#log.warn({ connection: name, reason: error.message }, 'redis.failed');
    });
    return connection;
  }

  async #run(script: string, values: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#commands.eval(script, this.#keys.length, ...this.#keys, ...values);
  }
}

function holderOf(text: unknown): Holder | undefined {
  if (typeof text !== 'string' || text === '') return undefined;
  const { node, address, epoch } = JSON.parse(text) as Record<keyof Holder, unknown>;
  return { node: String(node), address: String(address), epoch: Number(epoch) };
}

function entryOf(item: unknown): LogEntry {
  const [id, fields] = listOf(item);
  const [position, epoch] = String(id).split('-').map(Number);
  const entry = listOf(fields)[1];
  if (position === undefined || epoch === undefined || !Buffer.isBuffer(entry)) {
    throw new Error(`not an entry of ours: ${String(id)}`);
  }
  return { position, epoch, entry };
}

function listOf(answer: unknown): readonly unknown[] {
  if (!Array.isArray(answer)) throw new Error(`Redis answered ${typeof answer}`);
  return answer;
}
