import { parentPort, workerData } from 'node:worker_threads';

import { Disk } from './disk.ts';
import { DISK_PROTOCOL, type DiskData, type FromDisk, type ToDisk } from './messages.ts';

// The entry of the disk thread: files are read, written, hashed and flushed here, so that the node itself never waits.
const data = workerData as DiskData;
if (data.protocol !== DISK_PROTOCOL) throw new Error('loopsy was updated while this node ran: restart it');

/** The memory that a message takes with it. */
const movedWith = (message: FromDisk): ArrayBuffer[] => {
  if ('chunk' in message) return [message.chunk.buffer];
  return 'used' in message ? [message.used] : [];
};

const port = parentPort;
if (port !== null) {
  const disk = new Disk(data, (message: FromDisk) => {
    port.postMessage(message, movedWith(message));
  });
  port.on('message', (message: ToDisk) => {
    if ('stop' in message) port.close();
    else disk.take(message);
  });
}
