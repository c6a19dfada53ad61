/** A process that puts envelopes until it is killed, and says on stdout what the outbox acknowledged. */
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { openOutbox } from '../../device-agent/outbox.ts';
import { parseDevicePath } from '../../domain/namespace.ts';

const [file = '', run = '', putsAtOnce = '1', deliver = ''] = process.argv.slice(2);
const device = parseDevicePath('ms-acc-1/acc-1/dev-1');
if (device === undefined) throw new RangeError('no device');
const outbox = openOutbox({ file, envelopesMax: 100_000, whenFull: 'refuse' }, [device]);

async function putOne(path: typeof device & string): Promise<void> {
  let digest = '';
  const sequence = await outbox.put(path, (place) => {
    const previous = place.previousDigest?.toString('hex') ?? null;
    const envelope = Buffer.from(JSON.stringify({ run, sequence: place.sequence, previous }).padEnd(900));
    const hash = createHash('sha256').update(envelope).digest();
    digest = hash.toString('hex');
    return { envelope, digest: hash };
  });
  writeSync(1, `${sequence} ${digest}\n`); // synchronous: what is written is with the parent, whatever comes next
  if (deliver === 'deliver' && sequence % 3 === 0) outbox.delivered(path, sequence);
}

for (;;) await Promise.all(Array.from({ length: Number(putsAtOnce) }, () => putOne(device)));
