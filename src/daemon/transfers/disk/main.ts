import { parentPort, workerData } from 'node:worker_threads';

import { Disk } from './disk.ts';
import { DISK_PROTOCOL, type DiskData, type FromDisk, type ToDisk } from './messages.ts';

// The entry of the disk thread: files are read, written, hashed and flushed here, so that the node itself never waits.
const data = workerData as DiskData;
if (data.protocol !== DISK_PROTOCOL) throw new Error('loopsy was updated while this node ran: restart it');

const port = parentPort;
if (port !== null) {
  const disk = new Disk(data, (message: FromDisk) => {
    if ('chunk' in message) port.postMessage(message, [message.chunk.buffer]);
    else port.postMessage(message);
  });
  port.on('message', (message: ToDisk) => {
    if ('stop' in message) port.close();
    else disk.take(message);
  });
}
