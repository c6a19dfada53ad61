/** What of a snapshot goes to whom: what the device's owners say, without whoever is revoked, within the limits. */
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin } from '../domain/namespace.ts';
import type { SharingLimits } from '../domain/policy.ts';
import { mainGroup } from '../domain/policy.ts';
import type { EffectiveGroup, EffectivePolicy } from '../domain/policy-effect.ts';
import { commandClassOf, partition } from '../domain/policy-effect.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { PolicyRefusal } from '../policy/errors.ts';
import type { Policies } from '../policy/policies.ts';
import type { NamedReader } from '../policy/recipients.ts';
import { readersOf } from '../policy/recipients.ts';
import type { AgentConfig } from './config.ts';
import type { AgentMeasures } from './measures.ts';
import type { Outbox } from './outbox.ts';
import type { Readers } from './readers.ts';
import { ReadersError } from './readers.ts';
import type { StreamUsage } from './stream.ts';
import { streamOf } from './stream.ts';

export interface SharingOptions {
  readonly device: NamespacePath;
  /** Its own ENC certificate: readers are on the same curve. */
  readonly own: Certificate;
  /** Of the configuration; of these its owners read whatever anybody reads. */
  readonly recipients: readonly VerifiedIdentity[];
  readonly roots: readonly Certificate[];
  readonly policies: Policies;
  /** What the configuration says about policies. */
  readonly rules: AgentConfig['policy'];
  readonly readers: Readers;
  readonly outbox: Pick<Outbox, 'usageOf'>;
  readonly measures: AgentMeasures;
  readonly clock: Clock;
}

/** What one group of readers gets of a snapshot. */
export interface SharedSnapshot {
  readonly stream: string;
  readonly snapshot: Snapshot;
  readonly readers: readonly Certificate[];
  /** @returns what has gone out by the stream with an envelope of that size; undefined if it may not go out */
  readonly account: (
    envelopeBytes: number,
    signingTimeMs: number,
  ) => { readonly usage?: StreamUsage } | undefined;
}

/** Why a group gets nothing of a snapshot. */
type Withheld = 'denied' | 'sampling' | 'size' | 'rate' | 'no_reader';

/** Certificates of a policy are verified again so often, for they expire. */
const resolvedForMs = 3_600_000;
const hourMs = 3_600_000;

export class Sharing {
  readonly #options: SharingOptions;
  readonly #configured: readonly string[];
  readonly #auditors: readonly NamedReader[];
  readonly #resolved = new WeakMap<
    EffectiveGroup,
    { readonly readers: readonly NamedReader[]; readonly untilMs: number }
  >();

  constructor(options: SharingOptions) {
    const { device, recipients } = options;
    const owners = recipients.filter(({ commonName }) => isWithin(device, commonName));
    this.#options = options;
    this.#auditors = owners.map(readerOf);
    this.#configured = recipients.filter((one) => !owners.includes(one)).map(({ commonName }) => commonName);
  }

  /**
   * Applied before anything is sealed: a channel that is denied to a group is not in what it gets.
   *
   * @returns one for each group that gets something
   * @throws ReadersError
   */
  share(snapshot: Snapshot): readonly SharedSnapshot[] {
    const effect = this.#requireEffect();
    const channels = snapshot.readings.map(({ channel }) => channel);
    const shares = partition(channels, effect);
    if (shares.length === 0) this.#withhold('denied');
    return shares
      .map(({ group, channels: readable }) => {
        const granted = this.#sealable(group, readable);
        if (granted.length === 0) return this.#withhold('denied');
        const isWhole = granted.length === channels.length;
        return this.#shareOf(effect, group, isWhole ? snapshot : only(granted, snapshot));
      })
      .filter((shared) => shared !== undefined);
  }

  /** Who reads a result beside whoever asked. @throws ReadersError */
  readersOfResults(): readonly Certificate[] {
    const effect = this.#requireEffect();
    const main = effect.groups.find(({ name }) => name === mainGroup);
    if (main !== undefined) return this.#admitted(effect, main) ?? [];
    return this.#auditors.length === 0 ? [] : this.#options.readers.admitted(this.#auditors);
  }

  /** @returns why a command of that name is not executed; undefined if it may be */
  refusalOf(command: string): string | undefined {
    const effect = this.#effect();
    const found = commandClassOf(effect, command);
    if (found === 'auto' || (found === 'ask' && this.#options.rules.asked === 'sealed')) return undefined;
    if (found === 'ask') {
      return `the owner's policy asks a person about ${command}, and no configuration says that anybody is asked`;
    }
    const levels = effect.levels.map(({ path, number, standing }) => {
      return `${path} number ${number}${standing === 'in_force' ? '' : ', which is not in force'}`;
    });
    return `the owner's policy does not allow ${command} (${levels.join('; ')})`;
  }

  #effect(): EffectivePolicy {
    const { device, policies } = this.#options;
    return policies.effectiveFor(device, this.#configured);
  }

  #requireEffect(): EffectivePolicy {
    const effect = this.#effect();
    if (!this.#options.rules.required || effect.levels.length > 0) return effect;
    throw new ReadersError('readers.no_policy', 'no policy has come, and the configuration wants one');
  }

  #sealable(group: EffectiveGroup, readable: readonly string[]): readonly string[] {
    if (this.#options.rules.asked === 'sealed') return readable;
    return readable.filter((channel) => group.classOf(channel) === 'auto');
  }

  #shareOf(effect: EffectivePolicy, group: EffectiveGroup, snapshot: Snapshot): SharedSnapshot | undefined {
    const { limits } = group;
    const { timeMs } = snapshot;
    const stream = streamOf(this.#options.device, group.name);
    if (!this.#isDue(limits, stream, timeMs)) return this.#withhold('sampling');
    const readers = this.#admitted(effect, group);
    if (readers === undefined) return this.#withhold('no_reader');
    const account = (bytes: number, signingTimeMs: number) =>
      this.#account(limits, stream, { timeMs, signingTimeMs, bytes });
    return { stream, readers, snapshot, account };
  }

  /** @returns undefined if a policy leaves nobody who may read it */
  #admitted(effect: EffectivePolicy, group: EffectiveGroup): readonly Certificate[] | undefined {
    try {
      return this.#options.readers.admitted([...this.#auditors, ...this.#readersOf(group)]);
    } catch (error) {
      const isNobody = error instanceof ReadersError && error.code === 'readers.none';
      if (isNobody && effect.levels.length > 0) return undefined;
      throw error;
    }
  }

  #readersOf(group: EffectiveGroup): readonly NamedReader[] {
    const nowMs = this.#options.clock();
    const known = this.#resolved.get(group);
    if (known !== undefined && nowMs < known.untilMs) return known.readers;
    const readers = group.recipients.flatMap((recipient) => {
      try {
        const { recipients: configured, roots, own } = this.#options;
        const found = readersOf(recipient, { configured, roots, atMs: nowMs });
        return found.map((reader) => requireCurve(reader, own));
      } catch (error) {
        if (!(error instanceof PolicyRefusal || error instanceof PkiError)) throw error;
        this.#options.readers.leaveOut(recipient.name, error);
        return [];
      }
    });
    this.#resolved.set(group, { readers, untilMs: nowMs + resolvedForMs });
    return readers;
  }

  /** A clock that was set back must not silence the device, so it is the distance that counts. */
  #isDue({ secondsBetweenSnapshots }: SharingLimits, stream: string, timeMs: number): boolean {
    if (secondsBetweenSnapshots === undefined) return true;
    const usage = this.#options.outbox.usageOf(this.#options.device, stream);
    return usage === undefined || Math.abs(timeMs - usage.snapshotMs) >= secondsBetweenSnapshots * 1000;
  }

  #account(
    { secondsBetweenSnapshots, envelopeBytes, bytesPerHour }: SharingLimits,
    stream: string,
    { timeMs: snapshotMs, signingTimeMs, bytes }: Record<'timeMs' | 'signingTimeMs' | 'bytes', number>,
  ): { readonly usage?: StreamUsage } | undefined {
    if (envelopeBytes !== undefined && bytes > envelopeBytes) return this.#withhold('size');
    if (secondsBetweenSnapshots === undefined && bytesPerHour === undefined) return {};
    const { device, outbox } = this.#options;
    const hour = Math.floor(signingTimeMs / hourMs); // as it stands in the envelope, where an auditor counts it again
    const usage = outbox.usageOf(device, stream);
    const total = bytes + (usage?.hour === hour ? usage.bytes : 0);
    if (bytesPerHour !== undefined && total > bytesPerHour) return this.#withhold('rate');
    return { usage: { snapshotMs, hour, bytes: total } };
  }

  #withhold(reason: Withheld): undefined {
    this.#options.measures.withheld.inc({ reason });
  }
}

function readerOf(verified: VerifiedIdentity): NamedReader {
  return { name: verified.commonName, certificate: verified.certificate, verified };
}

function requireCurve(reader: NamedReader, { curve }: Certificate): NamedReader {
  if (reader.certificate.curve === curve) return reader;
  throw new PolicyRefusal(
    'policy.unknown_recipient',
    `the key of ${reader.name} is on ${reader.certificate.curve ?? 'another curve'}, the device's on ${curve ?? 'another'}`,
  );
}

function only(granted: readonly string[], snapshot: Snapshot): Snapshot {
  const names = new Set(granted);
  return { ...snapshot, readings: snapshot.readings.filter(({ channel }) => names.has(channel)) };
}
