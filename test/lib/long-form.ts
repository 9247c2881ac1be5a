/**
 * The long form of the tests, `npm run test:long`: the same assertions over more packets, rounds and random cases than show the
 * faults that they are for. `npm test` has to end within minutes.
 */
const LONG = process.env.TEST_LONG === '1';

/** How many: in `npm test`, and in the long form. */
export const times = <T>(short: T, long: T): T => (LONG ? long : short);
