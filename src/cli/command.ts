import { main } from './main.ts';
import { flushOutput, processIo } from './process-io.ts';

const run = async (): Promise<never> => {
  const code = await main(process.argv.slice(2), processIo());
  await flushOutput();
  // An open stdin, or a connection kept for the next request, must not hold the process.
  process.exit(code);
};

void run();
