/** Which numbers of devices are missing, and which were used twice, as the ledger has it now. */
import type { FastifyInstance } from 'fastify';
import type { PageContext } from './context.ts';

const shownMax = 200;

export function registerCompletenessRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/completeness', (request) => {
    context.requireUser(request);
    const { index } = context.record;
    return {
      gapCount: index.numbers.gapCount,
      gaps: index.numbers.gaps(shownMax),
      forks: index.forks(shownMax),
    };
  });
}
