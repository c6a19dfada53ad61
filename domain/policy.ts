/** What the owner of devices signs: who may read which channels, how often and how much, and which commands are obeyed. */
import { decode, encode, rfc8949EncodeOptions } from 'cborg';
import { z } from 'zod';
import { chainLengthMax } from './limits.ts';
import type { NamespacePath } from './namespace.ts';
import { isWithin, levelOf, parseNamespacePath } from './namespace.ts';
import { isGroupName } from './topic.ts';

/** `ask`: a person releases it first. `deny`: it is never sealed for the reader. */
export const channelClasses = ['auto', 'ask', 'deny'] as const;
export type ChannelClass = (typeof channelClasses)[number];

/** Patterns of channel names by class; where several match, the strictest class counts, and where none does, `deny`. */
export type ChannelRules = Readonly<Record<ChannelClass, readonly string[]>>;

export interface PolicyRecipient {
  /** The common name of its certificate; of a pinned one, what the owner calls it. */
  readonly name: string;
  /**
   * `configured`: the device has its certificate. `chain`: verified up to the device's pinned root.
   * `pinned`: somebody outside of the tree; the owner's signature alone vouches for this one certificate.
   */
  readonly trust: 'configured' | 'chain' | 'pinned';
  /** DER, leaf first; empty if `configured`, one if `pinned`. */
  readonly certificates: readonly Uint8Array[];
}

/** Absent: no limit. */
export interface SharingLimits {
  /** By the times that the snapshots state: at most one in so many seconds. */
  readonly secondsBetweenSnapshots?: number;
  /** Of one envelope. */
  readonly envelopeBytes?: number;
  /** Of envelopes in one hour of UTC. */
  readonly bytesPerHour?: number;
}

/** Readers with the same rights, who get one envelope of each snapshot together. */
export interface ReaderGroup {
  /** Absent: whoever the level above says; nobody, if none above speaks of readers. */
  readonly recipients?: readonly PolicyRecipient[];
  /** Absent: what the level above says; nothing, if none above speaks of readers. */
  readonly channels?: ChannelRules;
  readonly limits: SharingLimits;
}

export interface Policy {
  /** The master account, account or device that it is for, with everything below. */
  readonly path: NamespacePath;
  /** From 1; a device takes a higher one only. */
  readonly number: number;
  /** The owner whose signature it carries: `path` itself, or an account above it. */
  readonly issuer: NamespacePath;
  readonly validFromMs?: number;
  /** From then on it grants nothing. Absent: it holds until there is another. */
  readonly validUntilMs?: number;
  /** By name; absent: the policy says nothing about readers, and the level above decides. */
  readonly readers?: Readonly<Record<string, ReaderGroup>>;
  /** Of every group. */
  readonly limits: SharingLimits;
  /** Names of those that are obeyed; absent: the policy says nothing about commands. */
  readonly commands?: readonly string[];
  /** Of these, those that a person lets through first. */
  readonly askedCommands?: readonly string[];
}

/** The readers of the device's main stream, `M/A/E/snapshots`; each other group has one of its own. */
export const mainGroup = 'vendor';

const policyNumberMax = 2 ** 31;
const groupsMax = 32;
const recipientsPerGroupMax = 50;
const patternsMax = 500;
const commandsMax = 100;
const nameLengthMax = 64;
const certificateBytesMax = 8 * 1024;
/** The owner's chain has to go with it into one signed message. */
const policyBytesMax = 112 * 1024;
const version = 1;

export interface PolicyFault {
  /** In the file; undefined if the policy came as a message. */
  readonly line?: number;
  /** For example `readers.vendor.channels.auto[0]`; empty for the policy as a whole. */
  readonly path: string;
  readonly message: string;
}

export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code = 'policy.malformed';
  readonly faults: readonly PolicyFault[];
  constructor(faults: readonly PolicyFault[], options?: ErrorOptions) {
    super(faults.map(faultText).join('\n'), options);
    this.faults = faults;
  }
}

function faultText({ line, path, message }: PolicyFault): string {
  return [...(line === undefined ? [] : [`line ${line}`]), ...(path === '' ? [] : [path]), message].join(
    ': ',
  );
}

/** The characters of channel names, and the star. */
const channelPatternPattern = /^[A-Za-z0-9*\-./_]{1,64}$/;
const commandPattern = /^[a-z][a-z0-9-]{0,31}$/;

export const pathType = z.string().transform((text, context) => {
  const path = parseNamespacePath(text);
  if (path !== undefined) return path;
  context.addIssue(
    `"${text}" is no path: masterAccount, masterAccount/account or masterAccount/account/equipment`,
  );
  return z.NEVER;
});
export const ownerType = pathType.refine((path) => levelOf(path) !== 'device', {
  error: 'a device signs no policy; its account or its master account does',
});
export const numberType = z.int().min(1).max(policyNumberMax);
export const groupNameType = z
  .string()
  .refine(isGroupName, { error: 'a group is named with 1 to 20 of a-z, 0-9 and -' });
export const recipientNameType = z
  .string()
  .min(1)
  .max(nameLengthMax)
  .regex(/^[\x20-\x7e]+$/, {
    error: 'a name of printable ASCII characters',
  });
const patternType = z
  .string()
  .regex(channelPatternPattern, { error: 'a channel name, in which * stands for any characters' });
const patternsType = z.array(patternType).max(patternsMax).default([]);
export const channelsType = z.strictObject({ auto: patternsType, ask: patternsType, deny: patternsType });
export const limitsType = z.strictObject({
  secondsBetweenSnapshots: z.number().min(0).max(31_536_000).exactOptional(),
  envelopeBytes: z.int().min(1).exactOptional(),
  bytesPerHour: z.int().min(1).exactOptional(),
});
export const commandsType = z
  .array(z.string().regex(commandPattern, { error: 'the name of a command, such as ping' }))
  .max(commandsMax);
export const readersMaxType = {
  check: (readers: object): boolean => Object.keys(readers).length <= groupsMax,
  error: `at most ${groupsMax} groups of readers`,
};
export const recipientsPerGroup = { min: 1, max: recipientsPerGroupMax };

const timeType = z.int().positive();
const certificateType = z
  .instanceof(Uint8Array)
  .refine((der) => der.length > 0 && der.length <= certificateBytesMax, {
    error: `a certificate of at most ${certificateBytesMax} bytes`,
  });
const recipientType = z
  .strictObject({
    name: recipientNameType,
    trust: z.enum(['configured', 'chain', 'pinned']),
    certificates: z.array(certificateType).max(chainLengthMax),
  })
  .refine(({ trust, certificates }) => isLengthRight(trust, certificates.length), {
    error: 'a configured recipient has no certificate here, a pinned one has one, a chain has some',
  });

function isLengthRight(trust: PolicyRecipient['trust'], length: number): boolean {
  if (trust === 'configured') return length === 0;
  return trust === 'pinned' ? length === 1 : length > 0;
}

const policyType = z
  .strictObject({
    type: z.literal('policy'),
    version: z.literal(version),
    path: pathType,
    number: numberType,
    issuer: ownerType,
    validFromMs: timeType.exactOptional(),
    validUntilMs: timeType.exactOptional(),
    readers: z
      .record(
        groupNameType,
        z.strictObject({
          recipients: z
            .array(recipientType)
            .min(recipientsPerGroup.min)
            .max(recipientsPerGroup.max)
            .exactOptional(),
          channels: channelsType.exactOptional(),
          limits: limitsType,
        }),
      )
      .refine(readersMaxType.check, { error: readersMaxType.error })
      .exactOptional(),
    limits: limitsType,
    commands: commandsType.exactOptional(),
    askedCommands: commandsType.min(1).exactOptional(),
  })
  .superRefine((policy, context) => {
    const {
      path,
      issuer,
      validFromMs,
      validUntilMs,
      readers = {},
      commands = [],
      askedCommands = [],
    } = policy;
    const fault = (at: string[], message: string): void => {
      context.addIssue({ code: 'custom', path: at, message });
    };
    if (!isWithin(path, issuer)) fault(['issuer'], `${issuer} is not above ${path}, and cannot speak for it`);
    if (validFromMs !== undefined && validUntilMs !== undefined && validUntilMs <= validFromMs) {
      fault(['validUntil'], 'it ends before it begins');
    }
    const unknown = askedCommands.find((name) => !commands.includes(name));
    if (unknown !== undefined) fault(['askedCommands'], `${unknown} is not among the commands`);
    for (const [name, { recipients = [] }] of Object.entries(readers)) {
      const names = recipients.map((recipient) => recipient.name);
      const twice = names.find((one, index) => names.indexOf(one) < index);
      if (twice !== undefined) fault(['readers', name, 'recipients'], `${twice} is there twice`);
    }
  });

/**
 * The one form that is signed: CBOR (RFC 8949 §4.2.1), lists without an order of meaning sorted, so that the same policy
 * is the same octets.
 *
 * @throws PolicyError if it is none that a device would take
 */
export function encodePolicy(policy: Policy): Uint8Array {
  const canonical = canonicalForm(policy);
  requireType(canonical);
  const encoded = encode(canonical, rfc8949EncodeOptions);
  if (encoded.length <= policyBytesMax) return encoded;
  throw new PolicyError([
    { path: '', message: `${encoded.length} bytes; at most ${policyBytesMax} are taken` },
  ]);
}

/** Whether whoever signed it may speak for its path is not asked here. @throws PolicyError */
export function decodePolicy(content: Uint8Array): Policy {
  let decoded: unknown;
  try {
    if (content.length > policyBytesMax) throw new RangeError(`at most ${policyBytesMax} bytes are taken`);
    decoded = decode(content, { rejectDuplicateMapKeys: true, allowUndefined: false });
  } catch (cause) {
    throw new PolicyError([{ path: '', message: `content is not CBOR: ${String(cause)}` }], { cause });
  }
  const { type: _type, version: _version, ...policy } = requireType(decoded);
  // What was signed is what is meant: there is no second form of it.
  if (!Buffer.from(encodePolicy(policy)).equals(content)) {
    throw new PolicyError([{ path: '', message: 'content is not in the canonical form' }]);
  }
  return policy;
}

function requireType(value: unknown): z.infer<typeof policyType> {
  const result = policyType.safeParse(value);
  if (result.success) return result.data;
  throw new PolicyError(result.error.issues.map(({ path, message }) => ({ path: pathText(path), message })));
}

function canonicalForm(policy: Policy): object {
  const { readers, commands, askedCommands } = policy;
  return {
    type: 'policy',
    version,
    ...policy,
    ...(readers === undefined
      ? {}
      : {
          readers: Object.fromEntries(
            Object.entries(readers).map(([name, group]) => [name, canonicalGroup(group)]),
          ),
        }),
    ...(commands === undefined ? {} : { commands: sorted(commands) }),
    ...(askedCommands === undefined ? {} : { askedCommands: sorted(askedCommands) }),
  };
}

function canonicalGroup({ recipients, channels, limits }: ReaderGroup): ReaderGroup {
  return {
    limits,
    ...(recipients === undefined
      ? {}
      : { recipients: recipients.toSorted((one, other) => (one.name < other.name ? -1 : 1)) }),
    ...(channels === undefined
      ? {}
      : {
          channels: { auto: sorted(channels.auto), ask: sorted(channels.ask), deny: sorted(channels.deny) },
        }),
  };
}

function sorted(texts: readonly string[]): string[] {
  return [...new Set(texts)].toSorted();
}

/** @returns for example `readers.vendor.channels.auto[0]` */
export function pathText(parts: readonly PropertyKey[]): string {
  return parts.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}
