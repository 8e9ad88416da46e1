// A server of its own process: fastify with one route that answers nothing.
import fastify from 'fastify';

/** Listens, says on which port, and answers until it is ended. */
export const serveEmptyRoute = async (): Promise<void> => {
  const app = fastify();
  app.get('/empty', async () => ({}));
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  process.stdout.write(`${typeof address === 'object' && address !== null ? address.port : 0}\n`);
};
