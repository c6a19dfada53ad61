/** A backend as a process of its own, to be killed: its configuration is the argument, its log is on stdout. */
import { startBackend } from '../../backend/main.ts';
import type { BackendConfig } from '../../backend/config.ts';
import { createLog } from '../../runtime/log.ts';

const config = JSON.parse(process.argv[2] ?? '{}') as BackendConfig;
await startBackend(config, { log: createLog('backend', 'debug'), reconnect: { firstMs: 5, maxMs: 50 } });
