/** Policies in plain words: who gets what. */
import type { Policy, PolicyRecipient, ReaderGroup, SharingLimits } from '../../domain/policy.ts';
import { mainGroup } from '../../domain/policy.ts';
import type { EffectiveGroup, EffectivePolicy } from '../../domain/policy-effect.ts';
import { effectivePolicy } from '../../domain/policy-effect.ts';

/** A policy by itself. @param channels - of the devices, if they are known */
export function policyText(policy: Policy, channels: readonly string[]): string {
  const { path, number, issuer, validFromMs, validUntilMs, readers, commands, askedCommands = [] } = policy;
  const times = [
    ...(validFromMs === undefined ? [] : [`from ${timeText(validFromMs)}`]),
    ...(validUntilMs === undefined ? [] : [`until ${timeText(validUntilMs)}`]),
  ];
  return [
    [`Policy number ${number} for ${path} and all below, issued by ${issuer}`, ...times].join(', '),
    ...readersText(policy, channels, readers),
    ...(readers === undefined ? sentence('Each group of readers gets', limitsText(policy.limits)) : []),
    commandsText(commands, askedCommands, 'Commands: not spoken of; the level above decides'),
  ].join('\n');
}

/** What holds for a device. */
export function effectText(device: string, effect: EffectivePolicy, channels: readonly string[]): string {
  const levels = effect.levels.map(({ path, number, standing }) => {
    const state = { in_force: '', not_yet: ', NOT YET IN FORCE', expired: ', EXPIRED' }[standing];
    return `  ${path}: number ${number}${state}`;
  });
  return [
    `${device} obeys`,
    ...(levels.length === 0 ? ['  no policy: the recipients of its configuration read everything'] : levels),
    ...(effect.groups.length === 0 ? ['Nobody but the owner reads anything, and nothing is sealed'] : []),
    ...effect.groups.flatMap((group) => effectiveGroupText(group, channels)),
    commandsText(effect.commands, effect.askedCommands, 'Commands: all that the device knows'),
  ].join('\n');
}

function readersText(
  policy: Policy,
  channels: readonly string[],
  readers: Policy['readers'],
): readonly string[] {
  if (readers === undefined) return ['Readers: not spoken of; the level above decides'];
  const names = Object.keys(readers);
  if (names.length === 0) return ['Nobody but the owner reads anything'];
  // Alone, and at a time when it holds: what it grants if nobody above grants less.
  const { groups } = effectivePolicy({
    policies: [withoutTimes(policy)],
    configured: [],
    atMs: 0,
  });
  return names.flatMap((name) => {
    const group = groups.find((one) => one.name === name);
    const written = readers[name];
    if (written === undefined) return [];
    return group === undefined ? openText(name, written) : effectiveGroupText(group, channels, written);
  });
}

function withoutTimes({ validFromMs: _from, validUntilMs: _until, ...policy }: Policy): Policy {
  return policy;
}

/** A group that leaves recipients or channels to the level above. */
function openText(name: string, { recipients, channels, limits }: ReaderGroup): readonly string[] {
  return [
    `${titleOf(name)}: ${recipients === undefined ? 'whoever the level above names' : recipientsText(recipients)}`,
    channels === undefined ? '  reads what the level above grants' : `  reads ${patternsText(channels)}`,
    ...sentence('  gets', limitsText(limits)),
  ];
}

function effectiveGroupText(
  group: EffectiveGroup,
  channels: readonly string[],
  written?: ReaderGroup,
): readonly string[] {
  const rights =
    channels.length > 0
      ? countsText(group, channels)
      : [
          `  reads ${written?.channels === undefined ? 'by patterns; name --channels to see which' : patternsText(written.channels)}`,
        ];
  const recipients = group.recipients.length === 0 ? 'the owner alone' : recipientsText(group.recipients);
  return [
    `${titleOf(group.name)}: ${recipients}`,
    ...rights,
    ...sentence('  gets', limitsText(group.limits)),
  ];
}

function countsText(group: EffectiveGroup, channels: readonly string[]): readonly string[] {
  const of = (wanted: string): readonly string[] =>
    channels.filter((channel) => group.classOf(channel) === wanted);
  const [auto, ask, deny] = [of('auto'), of('ask'), of('deny')];
  return [
    `  reads ${auto.length + ask.length} of ${channels.length} channels`,
    ...(ask.length === 0 ? [] : [`  of these after a person has released them: ${listText(ask)}`]),
    ...(deny.length === 0 || auto.length + ask.length === 0 ? [] : [`  never: ${listText(deny)}`]),
  ];
}

const listedMax = 12;

function listText(names: readonly string[]): string {
  const more = names.length - listedMax;
  return `${names.slice(0, listedMax).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function patternsText({ auto, ask, deny }: NonNullable<ReaderGroup['channels']>): string {
  return [
    auto.length === 0 ? 'nothing by itself' : auto.join(', '),
    ...(ask.length === 0 ? [] : [`after a person has released it: ${ask.join(', ')}`]),
    ...(deny.length === 0 ? [] : [`never: ${deny.join(', ')}`]),
  ].join('; ');
}

function titleOf(name: string): string {
  return name === mainGroup ? name : `${name} (on shared/${name}/snapshots)`;
}

function recipientsText(recipients: readonly PolicyRecipient[]): string {
  const how = { configured: '', chain: ' (certificate included)', pinned: ' (outside of the tree, pinned)' };
  return recipients.map(({ name, trust }) => `${name}${how[trust]}`).join(', ');
}

function limitsText({
  secondsBetweenSnapshots,
  envelopeBytes,
  bytesPerHour,
}: SharingLimits): readonly string[] {
  return [
    ...(secondsBetweenSnapshots === undefined
      ? []
      : [`at most one snapshot in ${secondsBetweenSnapshots} s`]),
    ...(envelopeBytes === undefined ? [] : [`envelopes of at most ${envelopeBytes} bytes`]),
    ...(bytesPerHour === undefined ? [] : [`at most ${bytesPerHour} bytes in an hour`]),
  ];
}

function sentence(beginning: string, parts: readonly string[]): readonly string[] {
  return parts.length === 0 ? [] : [`${beginning} ${parts.join(', ')}`];
}

function commandsText(
  commands: readonly string[] | undefined,
  asked: readonly string[],
  unspoken: string,
): string {
  if (commands === undefined) return unspoken;
  if (commands.length === 0) return 'Commands: none';
  const named = commands.map((name) =>
    asked.includes(name) ? `${name} (after a person has let it through)` : name,
  );
  return `Commands: ${named.join(', ')}, and no others`;
}

function timeText(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
