import type { Readable } from 'node:stream';

import type { Call, HandlersOf } from '../edge/call.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { Transfers } from './service.ts';
import { listFiles, pullFile, pushFile } from './single.ts';

/** Operations on one file or folder. */
export const fileHandlers = (transfers: Transfers): HandlersOf<'file'> => ({
  'file.list': (input, call) => listFiles(transfers.disk, input, call.caller),
  'file.push': (input, call) => pushFile(transfers, input, call),
  'file.pull': (input, call) => pullFile(transfers, input, call),
});

/** Operations on movements. */
export const transferHandlers = (transfers: Transfers): HandlersOf<'transfer'> => ({
  'transfer.start': (input, call) => transfers.begin(input, call),
  'transfer.run': (input, call) => transfers.run(input, call),
  'transfer.list': (input, call) => transfers.list(input, call.caller),
  'transfer.get': (input, call) => transfers.get(input, call.caller),
  'transfer.follow': (input, call) => transfers.follow(input, call.caller),
  'transfer.cancel': (input, call) => transfers.cancel(input, call.caller),
});

const bodyOf = ({ body }: Call): Readable => {
  if (body === undefined) throw new LoopsyError('invalid_request', { message: 'a step has a body' });
  return body;
};

/** What a mover asks of the two ends. */
export const endHandlers = ({ ends }: Transfers): HandlersOf<'source'> & HandlersOf<'target'> & HandlersOf<'end'> => ({
  'source.open': async (input, call) => {
    const opened = await ends.openSource(input, call.caller);
    call.announce(opened.endId);
    return opened;
  },
  'source.read': async ({ endId, want }, call) => ({
    headers: {},
    ...(want.kind === 'range' ? { length: want.to - want.from } : {}),
    chunks: ends.read(endId, want, call.caller),
  }),
  'target.open': async (input, call) => {
    const opened = await ends.openTarget(input, call.caller);
    call.announce(opened.endId);
    return opened;
  },
  'target.write': async ({ endId, step, file = 0 }, call) =>
    (await ends.write(endId, call.caller, { step, file, body: bodyOf(call) })) as Record<string, unknown>,
  'target.put': async ({ endId, ...span }, call) => ({
    headers: { 'content-type': 'application/jsonl' },
    chunks: ends.put(endId, call.caller, { ...span, body: bodyOf(call) }),
  }),
  'end.close': async (input, call) => {
    await ends.close(input, call.caller);
    return { success: true, endId: input.endId };
  },
});
