import { main } from './main.ts';
import { flushOutput, processIo } from './process-io.ts';

/** What a shell expects of a program whose reader has gone. */
const READER_GONE = 141;

// `| head` closes our stdout: leaving closes the connection, and that ends a run that was started by it.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? READER_GONE : 1);
  });
}

const code = await main(process.argv.slice(2), processIo());
await flushOutput();
// An open stdin, or a connection kept for the next request, must not hold the process.
process.exit(code);
