/**
 * What a device records, how often, how much, and for whom: as the EU Data Act, Regulation (EU) 2023/2854, wants it told.
 * Made from what was recorded and from the policies; what neither knows is said to be for the contract.
 */
import type { DataSheet, SheetSection } from '../../domain/audit-device-view.ts';
import type { EffectiveGroup, EffectivePolicy } from '../../domain/policy-effect.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import type { Archive } from '../archive.ts';
import type { ChannelFacts, DeviceFacts, StreamFacts } from '../device-facts.ts';

export interface SheetQuestion {
  readonly device: NamespacePath;
  readonly facts: DeviceFacts;
  readonly effect: EffectivePolicy;
  /** The owner's own, who reads whatever anybody reads. */
  readonly owners: readonly string[];
  readonly archive: Pick<Archive, 'days' | 'bytesMax'> | undefined;
  readonly nowMs: number;
}

const channelsMax = 2000;
const monthMs = 30 * 24 * 3600 * 1000;

export function dataSheetOf(question: SheetQuestion): DataSheet {
  const { device, facts, nowMs } = question;
  return {
    title: `Data sheet of ${device}`,
    madeMs: nowMs,
    sections: [
      aboutSection(question),
      recordedSection(question),
      volumeSection(facts),
      readersSection(question),
      retentionSection(question),
      accessSection(device),
      sharingSection(),
    ],
  };
}

function aboutSection({ device, facts, effect }: SheetQuestion): SheetSection {
  const policies = effect.levels.map(({ path, number }) => `number ${number} for ${path}`);
  return {
    title: 'What this is about',
    articles: 'Art. 3(2)',
    paragraphs: [
      `${device}${facts.deviceType === undefined ? '' : `, a device of type ${facts.deviceType}`}, is a connected product ` +
        `in the sense of Regulation (EU) 2023/2854 (Data Act), Art. 2(5).`,
      policies.length === 0
        ? 'No policy of the owner speaks of it: what it sends is as its configuration says.'
        : `The owner's policies in force: ${policies.join(', ')}.`,
      'Made from what the auditor on the premises has recorded and opened. Who is the data holder (Art. 3(3)(d)), for which ' +
        'purposes the data are used (Art. 3(3)(c), Art. 4(13)) and who takes complaints (Art. 3(3)(g)) is for the contract to say.',
    ],
    table: undefined,
  };
}

function recordedSection({ facts: { channels }, effect }: SheetQuestion): SheetSection {
  const rows = channels
    .slice(0, channelsMax)
    .map(({ channel, unit, type, share }) => [
      channel,
      type ?? 'not known',
      unit ?? '',
      share >= 1 ? 'in every snapshot' : `in ${percentText(share)} of the snapshots`,
      readersText(channel, effect),
    ]);
  return {
    title: 'What it records',
    articles: 'Art. 3(2)(a), type and format',
    paragraphs: [
      'Snapshots: the values of all channels at one moment, with the time by the clock of the device. The format is SenML ' +
        '(RFC 8428) as CBOR or JSON, sealed as CMS (RFC 5652, RFC 5083) for the readers that are named below; units are ' +
        'those of the SenML registry (RFC 8428 §12.1).',
      ...(rows.length === 0 ? ['No snapshot of it was opened yet.'] : []),
    ],
    table:
      rows.length === 0
        ? undefined
        : { columns: ['Channel', 'Type', 'Unit', 'How often', 'Read by, beside the owner'], rows },
  };
}

/** @returns groups, as the next section but one names them */
function readersText(channel: string, { groups }: EffectivePolicy): string {
  const texts = groups.flatMap(({ name, classOf }) => {
    const found = classOf(channel);
    if (found === 'deny') return [];
    return [found === 'ask' ? `${name}, once a person has released it` : name];
  });
  return texts.length === 0 ? 'nobody' : texts.join('; ');
}

function volumeSection({ streams }: DeviceFacts): SheetSection {
  const rows = streams.filter(({ stream }) => !stream.endsWith('/commands')).map(volumeRow);
  return {
    title: 'How often and how much',
    articles: 'Art. 3(2)(a), estimated volume; Art. 3(2)(b), continuously and in real time',
    paragraphs: [
      rows.length === 0
        ? 'Nothing was recorded yet.'
        : 'It sends by itself, continuously, as soon as a snapshot is taken. Measured on its newest envelopes, in octets as ' +
          'they leave: sealed, and compressed where that is smaller.',
    ],
    table:
      rows.length === 0
        ? undefined
        : { columns: ['Stream', 'Snapshots', 'Each', 'In 30 days', 'Recorded'], rows },
  };
}

function volumeRow({ stream, entries, meanIntervalMs, meanBytes }: StreamFacts): string[] {
  const each = bytesText(meanBytes);
  if (meanIntervalMs === undefined || meanIntervalMs <= 0)
    return [stream, 'too few to tell', each, 'too few to tell', `${entries} entries`];
  return [
    stream,
    `one in ${durationText(meanIntervalMs)}`,
    each,
    bytesText((meanBytes * monthMs) / meanIntervalMs),
    `${entries} entries`,
  ];
}

function readersSection({ facts, effect, owners }: SheetQuestion): SheetSection {
  const rows = [
    ['the owner', owners.join(', '), 'whatever anybody reads', '', ''],
    ...effect.groups.map((group) => groupRow(group, facts.channels)),
  ];
  const commands = effect.commands;
  return {
    title: 'For whom',
    articles: 'Art. 4(13), Art. 5(1)',
    paragraphs: [
      'Each snapshot is sealed for these and for nobody else; whoever carries it cannot read it.',
      commands === undefined
        ? 'No policy restricts which commands the device obeys.'
        : `Commands that the device obeys: ${commands.length === 0 ? 'none' : commands.join(', ')}.`,
    ],
    table: { columns: ['Group', 'Who', 'Reads', 'Once a person has released it', 'At most'], rows },
  };
}

function groupRow(group: EffectiveGroup, channels: readonly ChannelFacts[]): string[] {
  const { name, recipients, limits } = group;
  const of = (wanted: string): readonly ChannelFacts[] =>
    channels.filter(({ channel }) => group.classOf(channel) === wanted);
  const [auto, ask] = [of('auto'), of('ask')];
  const { secondsBetweenSnapshots, envelopeBytes, bytesPerHour } = limits;
  const bounds = [
    ...(secondsBetweenSnapshots === undefined ? [] : [`one snapshot in ${secondsBetweenSnapshots} s`]),
    ...(envelopeBytes === undefined ? [] : [`${bytesText(envelopeBytes)} a snapshot`]),
    ...(bytesPerHour === undefined ? [] : [`${bytesText(bytesPerHour)} an hour`]),
  ];
  return [
    name,
    recipients.map((recipient) => recipient.name).join(', '),
    `${auto.length} of ${channels.length} channels`,
    ask.length === 0 ? 'nothing' : `${ask.length} more`,
    bounds.length === 0 ? 'no limit' : bounds.join(', '),
  ];
}

function retentionSection({ archive, effect }: SheetQuestion): SheetSection {
  const readers = effect.groups.flatMap(({ recipients }) => recipients.map(({ name }) => name));
  return {
    title: 'Where it rests, and for how long',
    articles: 'Art. 3(2)(c)',
    paragraphs: [
      'On the device: what is sealed and not yet acknowledged, until it is; no history.',
      archive === undefined
        ? "At the owner's auditor: no envelope is kept."
        : `At the owner's auditor: every envelope, sealed as it came, for ${archive.days} days, at most ${Math.round(archive.bytesMax / 1e6)} MB of all devices.`,
      'In the egress ledger of the owner: that an envelope passed, when, for whom, with which channels and how many octets; ' +
        'no values; not deleted.',
      `At its readers (${[...new Set(readers)].join(', ') || 'nobody'}): as agreed with each; a policy that withdraws a reader ends what it gets, ` +
        'not what it has.',
    ],
    table: undefined,
  };
}

function accessSection(device: NamespacePath): SheetSection {
  return {
    title: 'How to get at it',
    articles: 'Art. 3(2)(d), Art. 4(1)',
    paragraphs: [
      `On the auditor's page, free of charge, at any time: everything about ${device} as CSV, JSON or Parquet (snapshots opened, commands, ` +
        'entries of the ledger, decisions, policies, certificates), and this sheet.',
      'Live: any program with a certificate of the owner reads the snapshots at the broker on the premises and opens them with ' +
        'its own key (plombe open).',
      'What is in the archive of the auditor goes after its time by itself; on the device there is nothing to erase. What a reader ' +
        'holds is erased as agreed with it.',
    ],
    table: undefined,
  };
}

function sharingSection(): SheetSection {
  return {
    title: 'How to share it with somebody else, and how to end that',
    articles: 'Art. 5(1), Art. 3(3)(f)',
    paragraphs: [
      'The owner names another reader, with its certificate and its channels, in a policy, signs and publishes it (plombe policy ' +
        'sign, plombe policy publish): the device seals for it from the next snapshot on. A policy without it ends that with the ' +
        'next snapshot. What a third party may do with the data is bounded by Art. 6.',
    ],
    table: undefined,
  };
}

function percentText(share: number): string {
  return `${Math.max(1, Math.round(share * 100))} %`;
}

const bytePrefixes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

function bytesText(bytes: number): string {
  let value = bytes;
  let prefix = 0;
  for (; value >= 1024 && prefix < bytePrefixes.length - 1; prefix++) value /= 1024;
  return `${value.toFixed(prefix === 0 || value >= 100 ? 0 : 1)} ${bytePrefixes[prefix]}`;
}

function durationText(ms: number): string {
  if (ms < 120_000) return `${Number((ms / 1000).toPrecision(3))} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Number((ms / 3_600_000).toPrecision(3))} h`;
}
