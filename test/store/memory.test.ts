import { openMemoryStore } from '../../src/store/memory.ts';
import { describeStore } from './contract.ts';

describeStore('memory', async (clock) => openMemoryStore({ clock }));
