/** What the policies of a device's master account, its account and itself come to, and how they divide a snapshot. */
import { readingsMax } from './limits.ts';
import type { NamespacePath } from './namespace.ts';
import type {
  ChannelClass,
  ChannelRules,
  Policy,
  PolicyRecipient,
  ReaderGroup,
  SharingLimits,
} from './policy.ts';
import { channelClasses, mainGroup } from './policy.ts';
import { channelGroup } from './snapshot.ts';

export interface PolicyQuestion {
  /** Of its master account, its account and itself, those that there are, in any order. */
  readonly policies: readonly Policy[];
  /**
   * Who reads everything as long as no policy says who may read: the recipients of the configuration without the owner's
   * own. They are the main group.
   */
  readonly configured: readonly string[];
  readonly atMs: number;
}

export interface EffectiveGroup {
  readonly name: string;
  /** Beside the owners. At least one, but for the main group while no policy says who may read. */
  readonly recipients: readonly PolicyRecipient[];
  readonly limits: SharingLimits;
  /** The strictest of what each level says. */
  readonly classOf: (channel: string) => ChannelClass;
}

export type PolicyStanding = 'in_force' | 'not_yet' | 'expired';

export interface EffectivePolicy {
  /** By name, the main group first. */
  readonly groups: readonly EffectiveGroup[];
  /** Undefined: no policy says anything about commands. */
  readonly commands: readonly string[] | undefined;
  /** Of these, those that a person lets through first: if any level says so. */
  readonly askedCommands: readonly string[];
  /** What it was made of, the highest level first. One that is not in force grants nothing at all. */
  readonly levels: readonly {
    readonly path: NamespacePath;
    readonly number: number;
    readonly standing: PolicyStanding;
  }[];
  /** When it has to be worked out again; undefined: not because of the time. */
  readonly changesAtMs: number | undefined;
}

/** What one group gets of a snapshot. */
export interface Share {
  readonly group: EffectiveGroup;
  /** In the order of the snapshot; at least one. */
  readonly channels: readonly string[];
  /** `ask` if one of the channels is. */
  readonly class: Exclude<ChannelClass, 'deny'>;
}

/**
 * The stricter wins: a group, a recipient, a channel or a command is granted if every level that speaks of it grants it,
 * and of limits the smallest holds. So a level can take away from what the levels above it grant, and add nothing. A level
 * that is silent about readers, or commands, leaves them as they are.
 */
export function effectivePolicy({ policies, configured, atMs }: PolicyQuestion): EffectivePolicy {
  const levels = policies
    .toSorted((one, other) => one.path.length - other.path.length) // each path begins with the one above
    .map((policy) => ({ policy, standing: standingOf(policy, atMs) }));
  const limits = smallest(levels.map(({ policy }) => policy.limits));
  const isHalted = levels.some(({ standing }) => standing !== 'in_force');
  const spoken = levels.flatMap(({ policy }) => (policy.readers === undefined ? [] : [policy.readers]));
  const [first, ...below] = spoken;
  const groups =
    first === undefined
      ? [configuredGroup(configured, limits)]
      : Object.entries(first).flatMap(([name, group]) => {
          const others = below.map((readers) => (Object.hasOwn(readers, name) ? readers[name] : undefined));
          return effectiveGroup(name, [group, ...others], limits);
        });
  const commands = levels.flatMap(({ policy }) => (policy.commands === undefined ? [] : [policy.commands]));
  return {
    groups: isHalted ? [] : groups.toSorted(mainFirst),
    commands: isHalted ? [] : intersection(commands),
    askedCommands: [...new Set(levels.flatMap(({ policy: { askedCommands = [] } }) => askedCommands))],
    levels: levels.map(({ policy: { path, number }, standing }) => ({ path, number, standing })),
    changesAtMs: nextChange(policies, atMs),
  };
}

/** How a snapshot is divided: what each group may read of it. Groups that may read nothing of it are left out. */
export function partition(channels: readonly string[], policy: EffectivePolicy): Share[] {
  return policy.groups.flatMap((group) => {
    const granted = channels.filter((channel) => group.classOf(channel) !== 'deny');
    const isAsked = granted.some((channel) => group.classOf(channel) === 'ask');
    return granted.length === 0 ? [] : [{ group, channels: granted, class: isAsked ? 'ask' : 'auto' }];
  });
}

/**
 * The class of an envelope with these channels for a group: the strictest of them.
 *
 * @returns `deny` also for a group that the policy does not know
 */
export function classOf(
  policy: EffectivePolicy,
  groupName: string,
  channels: readonly string[],
): ChannelClass {
  const group = policy.groups.find(({ name }) => name === groupName);
  if (group === undefined) return 'deny';
  return strictest(channels.map((channel) => group.classOf(channel)));
}

/** @returns whether a device obeys a command of that name, so far as its owner has a say in it; `ask`: a person lets it through first */
export function commandClassOf({ commands, askedCommands }: EffectivePolicy, name: string): ChannelClass {
  if (commands !== undefined && !commands.includes(name)) return 'deny';
  return askedCommands.includes(name) ? 'ask' : 'auto';
}

/**
 * @param pattern - in which `*` stands for any characters, dots too
 * @param channel - one without a dot is also known as `general.<name>`, by its group
 */
export function matchesChannel(pattern: string, channel: string): boolean {
  if (isGlobOf(pattern, channel)) return true;
  return !channel.includes('.') && isGlobOf(pattern, `${channelGroup(channel)}.${channel}`);
}

function standingOf({ validFromMs, validUntilMs }: Policy, atMs: number): PolicyStanding {
  if (validFromMs !== undefined && atMs < validFromMs) return 'not_yet';
  return validUntilMs !== undefined && atMs >= validUntilMs ? 'expired' : 'in_force';
}

function nextChange(policies: readonly Policy[], atMs: number): number | undefined {
  const times = policies
    .flatMap(({ validFromMs, validUntilMs }) => [validFromMs, validUntilMs])
    .filter((time) => time !== undefined)
    .filter((time) => time > atMs);
  return times.length === 0 ? undefined : Math.min(...times);
}

function configuredGroup(configured: readonly string[], limits: SharingLimits): EffectiveGroup {
  const recipients = configured.map((name) => ({ name, trust: 'configured', certificates: [] }) as const);
  return { name: mainGroup, recipients, limits, classOf: () => 'auto' };
}

function effectiveGroup(
  name: string,
  levels: readonly (ReaderGroup | undefined)[],
  limits: SharingLimits,
): EffectiveGroup[] {
  const present = levels.filter((group) => group !== undefined);
  if (present.length < levels.length) return []; // a level names its readers, and this group is not among them
  // What the highest level leaves open it grants to nobody: a lower one must not fill it in.
  if (present[0]?.channels === undefined || present[0].recipients === undefined) return [];
  const rules = present.map(({ channels }) => channels).filter((one) => one !== undefined);
  const recipients = commonRecipients(
    present.map((group) => group.recipients).filter((named) => named !== undefined),
  );
  if (recipients.length === 0) return [];
  return [
    {
      name,
      recipients,
      limits: smallest([limits, ...present.map((group) => group.limits)]),
      classOf: rememberedClasses(rules),
    },
  ];
}

/** @param levels - the highest first; a lower one may name who has a certificate above by the name alone, and no other certificate */
function commonRecipients(levels: readonly (readonly PolicyRecipient[])[]): readonly PolicyRecipient[] {
  const [first = [], ...below] = levels;
  return below.reduce<readonly PolicyRecipient[]>(
    (recipients, level) =>
      recipients.filter((recipient) =>
        level.some((other) => other.name === recipient.name && isSameReader(recipient, other)),
      ),
    first,
  );
}

function isSameReader(above: PolicyRecipient, below: PolicyRecipient): boolean {
  if (below.trust === 'configured') return true;
  const [one, other] = [above.certificates[0], below.certificates[0]];
  return one !== undefined && other !== undefined && Buffer.from(one).equals(other);
}

function rememberedClasses(rules: readonly ChannelRules[]): (channel: string) => ChannelClass {
  const known = new Map<string, ChannelClass>();
  return (channel) => {
    const remembered = known.get(channel);
    if (remembered !== undefined) return remembered;
    if (known.size >= readingsMax) known.clear();
    const found = strictest(rules.map((level) => classIn(level, channel)));
    known.set(channel, found);
    return found;
  };
}

function classIn(rules: ChannelRules, channel: string): ChannelClass {
  const isAny = (patterns: readonly string[]): boolean =>
    patterns.some((pattern) => matchesChannel(pattern, channel));
  if (isAny(rules.deny)) return 'deny';
  if (isAny(rules.ask)) return 'ask';
  return isAny(rules.auto) ? 'auto' : 'deny';
}

function strictest(classes: readonly ChannelClass[]): ChannelClass {
  return channelClasses[Math.max(0, ...classes.map((one) => channelClasses.indexOf(one)))] ?? 'deny';
}

function smallest(levels: readonly SharingLimits[]): SharingLimits {
  // Of the interval between snapshots the longest is the strictest.
  const interval = definedOf(levels.map(({ secondsBetweenSnapshots }) => secondsBetweenSnapshots));
  const envelope = definedOf(levels.map(({ envelopeBytes }) => envelopeBytes));
  const hour = definedOf(levels.map(({ bytesPerHour }) => bytesPerHour));
  return {
    ...(interval.length === 0 ? {} : { secondsBetweenSnapshots: Math.max(...interval) }),
    ...(envelope.length === 0 ? {} : { envelopeBytes: Math.min(...envelope) }),
    ...(hour.length === 0 ? {} : { bytesPerHour: Math.min(...hour) }),
  };
}

function definedOf(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}

function intersection(lists: readonly (readonly string[])[]): readonly string[] | undefined {
  const [first, ...others] = lists;
  return first?.filter((name) => others.every((list) => list.includes(name)));
}

function mainFirst(one: EffectiveGroup, other: EffectiveGroup): number {
  if (one.name === other.name) return 0;
  if (one.name === mainGroup) return -1;
  return other.name === mainGroup || one.name > other.name ? 1 : -1;
}

/** Linear in both, whatever the stars: goes back to the last star alone. */
function isGlobOf(pattern: string, text: string): boolean {
  let [at, inText] = [0, 0];
  let [star, resumed] = [-1, 0];
  while (inText < text.length) {
    if (pattern[at] === '*') [star, resumed, at] = [at, inText, at + 1];
    else if (pattern[at] === text[inText]) [at, inText] = [at + 1, inText + 1];
    else if (star >= 0) [resumed, inText, at] = [resumed + 1, resumed + 1, star + 1];
    else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}
