/** What the shop sells; the list is a file of a ConfigMap. */
import { readFileSync } from 'node:fs';
import { serveGrpc } from '../lib/grpc.ts';
import { setting } from '../lib/http.ts';
import { type Product, shop } from './protocol.ts';

const products = JSON.parse(readFileSync(setting('PRODUCTS_FILE'), 'utf8')) as Product[];

serveGrpc(Number(setting('PORT')), shop, 'shop.Catalogue', {
  List: () => ({ products }),
  Get: ({ id }: { id: string }) => {
    const product = products.find((candidate) => candidate.id === id);
    if (product === undefined) throw new Error(`there is no product ${id}`);
    return { ...product };
  },
});
