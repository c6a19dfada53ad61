/** Why a request is refused, in words for whoever asked. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError';
}
