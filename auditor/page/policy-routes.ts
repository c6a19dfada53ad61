/** The policies as people read them: what is in force, what was, what it comes to for each device, and how to change it. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type {
  DeviceItem,
  PolicyItem,
  PolicyList,
  ReaderGroupItem,
  ReaderItem,
} from '../../domain/audit-device-view.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { ChannelClass, Policy, PolicyRecipient } from '../../domain/policy.ts';
import type { EffectiveGroup } from '../../domain/policy-effect.ts';
import { recordedDevices } from '../device-facts.ts';
import type { PastPolicy } from '../policy-history.ts';
import type { PageContext } from './context.ts';

const policiesShownMax = 200;

export function registerPolicyRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/policies', (request) => policies(context, request));
  server.get('/api/devices', (request) => devices(context, request));
}

function policies(context: PageContext, request: FastifyRequest): PolicyList {
  context.requireUser(request);
  const { policyHistory, policies: held, publishing, scope } = context;
  return {
    scope,
    publishing,
    refusals: held.faults().map(([path, refusal]) => ({ path, ...refusal })),
    policies: policyHistory
      .list(policiesShownMax)
      .map((past) => itemOf(past, held.of(past.policy.path).at(-1))),
  };
}

/** @param nearest - of its path, or of the one above that has one */
function itemOf({ policy, signer, signedMs, takenMs }: PastPolicy, nearest: Policy | undefined): PolicyItem {
  const { path, number, readers, limits, commands, validFromMs, validUntilMs } = policy;
  return {
    path,
    number,
    signer,
    signedMs,
    takenMs,
    validFromMs,
    validUntilMs,
    limits,
    commands,
    isNewest: nearest?.path === path && nearest.number === number,
    readers:
      readers &&
      Object.entries(readers).map(([name, group]) => ({
        name,
        recipients: group.recipients?.map(readerItem),
        channels: group.channels,
        limits: group.limits,
      })),
  };
}

/** Without its certificates, which nobody reads on a page. */
function readerItem({ name, trust }: PolicyRecipient): ReaderItem {
  return { name, trust };
}

function devices(context: PageContext, request: FastifyRequest): DeviceItem[] {
  context.requireUser(request);
  return recordedDevices(context.directory).flatMap((name) => {
    const device = parseDevicePath(name);
    return device === undefined ? [] : [deviceItem(context, device)];
  });
}

function deviceItem({ check }: PageContext, device: NamespacePath): DeviceItem {
  const { levels, groups } = check.effectOf(device);
  return {
    device,
    levels,
    readers: [...new Set(groups.flatMap(({ recipients }) => recipients.map(({ name }) => name)))],
  };
}

/** @param channels - that the device has */
export function groupItem(
  { name, recipients, limits, classOf }: EffectiveGroup,
  channels: readonly string[],
): ReaderGroupItem {
  const of = (wanted: ChannelClass): string[] => channels.filter((channel) => classOf(channel) === wanted);
  const classes = { auto: of('auto'), ask: of('ask'), deny: of('deny') };
  return { name, recipients: recipients.map(readerItem), limits, channels: classes };
}
