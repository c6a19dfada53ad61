/** One envelope three times: as the DMZ sees it, as its structure, and opened. */
import { describe } from '../../cms/describe.ts';
import { CmsError } from '../../cms/errors.ts';
import { inspect } from '../../cms/inspect.ts';
import type { Opener } from '../../cms/open.ts';
import type { EnvelopeView } from '../../domain/audit-view.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { decodeSenmlCbor, decodeSenmlJson, SenmlError } from '../../domain/senml.ts';
import type { Snapshot } from '../../domain/snapshot.ts';
import { deviceOf } from '../../ledger/stream.ts';

const hexBytesMax = 16 * 1024;
const readingsShownMax = 2000;

/** @param topic - that it came by */
export function viewEnvelope(envelope: Buffer, topic: string, opener: Opener): EnvelopeView {
  const hex = envelope.subarray(0, hexBytesMax).toString('hex');
  const structure = orFault(() => describe(inspect(envelope)));
  const snapshot = orFault(() => snapshotIn(envelope, topic, opener));
  return {
    bytes: envelope.length,
    hex,
    structure: structure.value ?? [],
    readings: snapshot.value?.readings.slice(0, readingsShownMax),
    fault: structure.fault ?? snapshot.fault,
  };
}

function snapshotIn(envelope: Buffer, topic: string, opener: Opener): Snapshot | undefined {
  const { contentType, content } = opener.open(envelope, { expectedTopic: topic });
  const device = parseDevicePath(deviceOf(topic));
  if (device === undefined) return undefined;
  if (contentType === 'senml+cbor') return decodeSenmlCbor(device, content);
  return contentType === 'senml+json' ? decodeSenmlJson(device, content) : undefined;
}

function orFault<T>(work: () => T): { value: T | undefined; fault: string | undefined } {
  try {
    return { value: work(), fault: undefined };
  } catch (error) {
    if (!(error instanceof CmsError || error instanceof SenmlError)) throw error;
    return { value: undefined, fault: `${error.code}: ${error.message}` };
  }
}
