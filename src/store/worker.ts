import { parentPort, workerData } from 'node:worker_threads';

import { FileWriter } from './file-writer.ts';
import { isBusy, isFull } from './sqlite.ts';
import {
  WRITER_PROTOCOL,
  type WriterAnswer,
  type WriterFailure,
  type WriterReply,
  type WriterRequest,
  type WriterTask,
} from './writer-protocol.ts';

// The entry of the writer thread: one thread writes all stores of a node, each through its own connection.
const writers = new Map<string, FileWriter>();

const writerOf = (file: string): FileWriter => {
  const open = writers.get(file);
  if (open !== undefined) return open;
  const writer = new FileWriter(file);
  writers.set(file, writer);
  return writer;
};

const close = (file: string): void => {
  writers.get(file)?.close();
  writers.delete(file);
};

const carryOut = (file: string, task: WriterTask): WriterAnswer => {
  switch (task.kind) {
    case 'commit':
      return { kind: 'committed', group: writerOf(file).commit(task.batches, task.now) };
    case 'sweep':
      return { kind: 'swept', swept: writerOf(file).sweep(task) };
    case 'close':
      close(file);
      return { kind: 'closed' };
  }
};

const describe = (error: unknown): WriterFailure => {
  const reason = isFull(error) ? 'full' : isBusy(error) ? 'busy' : 'other';
  return { reason, message: error instanceof Error ? error.message : String(error) };
};

const answer = (file: string, task: WriterTask): WriterAnswer => {
  try {
    return carryOut(file, task);
  } catch (error) {
    const failure = describe(error);
    // A connection that failed for an unknown reason is not used again.
    if (failure.reason === 'other') close(file);
    return { kind: 'failed', failure };
  }
};

if (workerData !== WRITER_PROTOCOL) throw new Error('loopsy was updated while this node ran: restart it');

parentPort?.on('message', (request: WriterRequest) => {
  if ('end' in request) {
    for (const file of writers.keys()) close(file);
    parentPort?.close();
    return;
  }
  const reply: WriterReply = { id: request.id, answer: answer(request.file, request.task) };
  parentPort?.postMessage(reply);
});
